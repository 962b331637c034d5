"""Masked and dim faces, and emoji: what is found at the default settings.

40 faces of HELEN's test part, evenly spread: as they are; with a black mask painted over everything between the chin
and the bridge of the nose; and with the photo's values × 0.15. A face is found when a detection overlaps its marked box
with IoU ≥ 0.5. And 40 photos of one drawn emoji each on white, about half of glyphs that training never sees: each
should show no face. The emoji need Debian's fonts and Pillow, see model.tools.draw_emoji.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from PIL import Image as Pictures

from model.datasets import Array, Sample, emoji
from model.datasets.readers import helen as helen_reader
from model.datasets.store import read_photo
from model.evaluate import helen, metrics
from model.evaluate.result import Figure, Result, Table
from model.evaluate.run import BATCH, FOUND_IOU, Run, reference_box
from model.geometry import Image

COUNT = 40
JAW = slice(2, 15)
"""Of the 68 points the part of the jaw that a mask covers."""
BRIDGE = 28
"""Of the 68 points the one on the bridge of the nose up to which a mask reaches."""
DIMMED = 0.15
EMOJI_SIDE = 320
GLYPH_SIDE = 200


def masked(photo: Image, points: Array) -> Image:
    """Paint a black mask over the chin and nose of the face with 68 points [68, 2]."""
    outline = np.concatenate([points[JAW], points[BRIDGE : BRIDGE + 1]])
    painted = photo.copy()
    cv2.fillPoly(painted, [np.round(outline).astype(np.int32)], (0, 0, 0))
    return painted


def dimmed(photo: Image, _points: Array) -> Image:
    """Multiply the photo's values by DIMMED."""
    return np.round(photo * DIMMED).astype(np.uint8)


def unchanged(photo: Image, _points: Array) -> Image:
    """Return the photo as it is."""
    return photo


CHANGES: dict[str, Callable[[Image, Array], Image]] = {"plain": unchanged, "masked": masked, "dimmed": dimmed}


def emoji_photo(character: str) -> Image:
    """Draw one glyph in the colour font in the middle of a white photo."""
    glyph = emoji.glyph_picture(character, True, np.random.default_rng(0)).resize((GLYPH_SIDE, GLYPH_SIDE))
    photo = Pictures.new("RGB", (EMOJI_SIDE, EMOJI_SIDE), (255, 255, 255))
    corner = (EMOJI_SIDE - GLYPH_SIDE) // 2
    photo.paste(glyph, (corner, corner), glyph)
    return np.asarray(photo, np.uint8)


def emoji_characters() -> list[str]:
    """Return COUNT characters: those that training never sees, up to a half, the rest evenly from the others."""
    unseen = emoji.glyphs("test")[: COUNT // 2]
    trained_on = emoji.glyphs("train")
    rest = COUNT - len(unseen)
    return unseen + [trained_on[i * len(trained_on) // rest] for i in range(rest)]


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `helen` or the emoji fonts."""
    if not emoji.COLOUR.is_file():
        raise FileNotFoundError(f"no font {emoji.COLOUR}: apt-get install fonts-noto-color-emoji")
    samples = helen.test_samples(run)
    chosen = run.some([samples[i * len(samples) // COUNT] for i in range(min(COUNT, len(samples)))])
    found_by_change = {name: found_faces(run, chosen, change) for name, change in CHANGES.items()}
    photos = [emoji_photo(character) for character in emoji_characters()]
    return score(found_by_change, [len(faces) > 0 for faces in run.analyzer.analyze(photos)])


def score(found_by_change: dict[str, list[bool]], emoji_taken: Sequence[bool]) -> Result:
    """Count the faces found by change of the photo, and the emoji taken for faces."""
    figures = [Figure(f"found_{name}", sum(faces), f"of {len(faces)}") for name, faces in found_by_change.items()]
    figures.append(Figure("emoji_taken_for_faces", sum(emoji_taken), f"of {len(emoji_taken)}"))
    rows = [(name, len(faces), sum(faces)) for name, faces in found_by_change.items()]
    rows.append(("emoji", len(emoji_taken), sum(emoji_taken)))
    table = Table("By kind", ("photos", "number", "with a face found"), rows)
    return Result(
        "covered", max((len(faces) for faces in found_by_change.values()), default=0), tuple(figures), (table,)
    )


def found_faces(run: Run, samples: Sequence[Sample], change: Callable[[Image, Array], Image]) -> list[bool]:
    """Return whether the marked face of each HELEN sample is found in its photo after the change."""
    results = []
    for start in range(0, len(samples), BATCH):
        group = samples[start : start + BATCH]
        photos = [change(read_photo(s.path), helen_reader.read_pts(s.path.with_suffix(".pts"))) for s in group]
        for sample, faces in zip(group, run.analyzer.analyze(photos), strict=True):
            box = reference_box(sample)
            overlaps = metrics.iou(faces.boxes, box)[:, 0] if box is not None and len(faces) else np.zeros(1)
            results.append(bool(overlaps.max() >= FOUND_IOU))
    return results
