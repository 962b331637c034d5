"""ChaLearn LAP 2015, apparent age: the challenge's error on its validation set (section IV-E, Table IV; reference 12).

ε = 1 − exp(−(y − μ)² / 2σ²) of a photo, y the prediction, μ and σ mean and deviation of the ages that people guessed;
the figure is the mean over all photos. The face taken is Analyzed.main_face; a photo without one is guessed as the mean
of the training set. The paper fine-tunes the age branch on the training set first: recipes/archives/lap.json, then
--weights. People themselves err by 0.34.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets.readers import lap
from model.evaluate import metrics
from model.evaluate.result import Figure, Result
from model.evaluate.run import Analyzed, Run


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `lap`."""
    samples = lap.read(run.root("lap"))
    mean = float(np.mean([s.age for s in samples if s.split == "train"]))
    return score(run.analyze(run.some([s for s in samples if s.split == "test"]), "lap"), mean)


def error(predicted: metrics.Floats, mean: metrics.Floats, deviation: metrics.Floats) -> metrics.Floats:
    """Return the error ε [N] of ages [N] in years. Raises ValueError for a deviation that is not positive."""
    if not (np.asarray(deviation) > 0).all():
        raise ValueError("the error needs a positive deviation")
    return np.asarray(1 - np.exp(-((predicted - mean) ** 2) / (2 * deviation**2)))


def score(photos: Sequence[Analyzed], mean_age: float) -> Result:
    """Return the protocol's result for analyzed photos; mean_age is the guess for a photo without a face."""
    faces = [photo.main_face() for photo in photos]
    age = np.array([mean_age if f is None else float(p.faces.age[f]) for p, f in zip(photos, faces, strict=True)])
    mean, deviation = (np.array([getattr(p.sample, n) for p in photos]) for n in ("age", "age_sigma"))
    figures = (
        Figure("error", float(error(age, mean, deviation).mean()), ""),
        Figure("age_mae", float(np.abs(age - mean).mean()), "years"),
        Figure("photos_without_face", sum(face is None for face in faces), "photos"),
    )
    return Result("lap", len(photos), figures)
