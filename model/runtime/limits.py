"""What a caller wants of an image, and the scores that this is measured by."""

from __future__ import annotations

from dataclasses import dataclass

MIN_SCORE = 0.98
"""Default score from which a region is reported as a face: on 240 validation faces, and on 82 of them dark, small and
blurred, recall 100 % even at 0.98; no false alarm on 99 scenes and 50 things and animals, where 0.9 gives 0.06 a photo
of the latter."""
MIN_SIZE = 12.0
"""Default shortest side in pixels: nearly all faces from 14 are found where an image can be enlarged, and of the false
alarms in 784 photos without a face four of five were smaller (docs/log.md, 'small faces')."""
LOW_SCORE = 0.2
"""Score from which a region is worth refining (HyperFace's low threshold)."""


@dataclass(frozen=True)
class Limits:
    """What is wanted of one image: lowest score, shortest box side in pixels, most faces (largest first).

    Without a `min_size` faces from MIN_SIZE are reported; a large image is searched at a reduced size, which bounds
    time and memory, and a small one enlarged. A `min_size` is honoured, however long that takes.
    """

    min_score: float = MIN_SCORE
    min_size: float | None = None
    max_faces: int = 100


DEFAULT_LIMITS = Limits()
