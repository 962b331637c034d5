"""PASCAL faces (Yan et al. 2014): average precision at IoU 0.5 over 851 photos (section IV-A, Fig. 6b).

Matching and precision are those of marked.py; faces marked difficult do not count. Our boxes are what the pipeline
reports, not refitted to the set's idea of a face's extent, as some published curves are. The paper fine-tunes the
detection branch on FDDB first: recipes/archives/fddb.json, then --weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.datasets.photo import Photo
from model.datasets.readers import pascal_faces
from model.evaluate import marked
from model.evaluate.result import Result
from model.evaluate.run import Run


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `pascal_faces`."""
    photos = run.some(pascal_faces.read_photos(run.root("pascal_faces")))
    return score(marked.detect(run, photos, "pascal"), photos)


def score(detections: Sequence[marked.Found], photos: Sequence[Photo]) -> Result:
    """Return the protocol's result for the detections of each photo."""
    figures, plot = marked.score(detections, photos, "PASCAL faces")
    return Result("pascal", len(photos), tuple(figures), plots=(plot,))
