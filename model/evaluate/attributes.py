"""Gender and smile of marked faces, scores being means over proposals (section IV-D, Table III).

Accuracy over all faces that have the label, at a score of 0.5; a face that no proposal overlaps counts as wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.evaluate import regions
from model.evaluate.result import Figure, Result


def score(protocol: str, answers: Sequence[regions.Answer | None], samples: Sequence[Sample]) -> Result:
    """Return the figures of one set. Raises ValueError when no sample has either label."""
    figures = []
    for name, label in (("gender", "female"), ("smile", "smile")):
        truth = np.array([getattr(s, label) for s in samples], np.float64)
        guess = np.array([np.nan if a is None else getattr(a, label) for a in answers], np.float64)
        labelled = np.isfinite(truth)
        right = np.isfinite(guess) & ((guess > 0.5) == (truth == 1))
        figures.append(Figure(f"{name}_accuracy", 100 * float(right[labelled].mean()) if labelled.any() else np.nan))
        figures.append(Figure(f"{name}_faces", int(labelled.sum()), "faces"))
    if not any(f.value for f in figures if f.unit == "faces"):
        raise ValueError(f"{protocol}: no face has a label")
    missed = Figure("faces_without_proposal", sum(a is None for a in answers), "faces")
    counts = sorted(a.proposals for a in answers if a is not None)
    median = Figure("proposals_median", float(np.median(counts)) if counts else np.nan, "a face")
    return Result(protocol, len({s.path for s in samples}), (*figures, missed, median))
