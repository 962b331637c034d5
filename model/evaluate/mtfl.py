"""MTFL (Zhang et al. 2014), our validation part of its web faces: smile and gender.

No training has learnt from these photos, but recipes, steps and averages were chosen on them: a validation figure. The
face taken is the one that overlaps the marked face (Analyzed.marked_face); a photo where none does counts as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.datasets.readers import mtfl
from model.evaluate.result import Figure, Result
from model.evaluate.run import Analyzed, Run


def validation_samples(run: Run) -> list[Sample]:
    """Return the samples of the validation part whose marked face has all its landmarks."""
    validation = [s for s in mtfl.read(run.root("mtfl_net")) if s.split == "val" and s.landmarks is not None]
    return [s for s in validation if np.isfinite(np.asarray(s.landmarks)).all()]


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `mtfl_net`."""
    return score(run.analyze(run.some(validation_samples(run)), "mtfl"))


def score(photos: Sequence[Analyzed]) -> Result:
    """Return the protocol's result for analyzed photos."""
    faces = [photo.marked_face() for photo in photos]
    figures = []
    for figure, name in (("smile_accuracy", "smile"), ("gender_accuracy", "female")):
        right = [
            face is not None and (float(getattr(photo.faces, name)[face]) > 0.5) == (getattr(photo.sample, name) == 1)
            for photo, face in zip(photos, faces, strict=True)
        ]
        figures.append(Figure(figure, 100 * float(np.mean(right))))
    missed = sum(face is None for face in faces)
    return Result("mtfl", len(photos), (*figures, Figure("faces_missed", missed, "faces")))
