"""UTKFace (Zhang et al. 2017), test folder: mean absolute error of age and accuracy of gender.

The photos are tight crops, analyzed as they are by the whole pipeline (on the validation part a border around them
changes nothing). The face taken is Analyzed.main_face. A photo without a detected face is no loss to hide: its gender
counts as wrong and its age as the mean of the train labels; `found` figures leave those photos out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.datasets.readers import utkface
from model.evaluate import metrics
from model.evaluate.result import Figure, Result, Table
from model.evaluate.run import Analyzed, Run

AGES = (0, 3, 10, 20, 30, 40, 50, 60, 70, 200)


def test_samples(run: Run) -> list[Sample]:
    """Return the samples of the test part."""
    return [s for s in utkface.read(run.root("utkface")) if s.split == "test"]


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `utkface`."""
    samples = utkface.read(run.root("utkface"))
    mean = float(np.mean([s.age for s in samples if s.split != "test"]))
    return score(run.analyze(run.some(test_samples(run)), "utkface"), mean)


def score(photos: Sequence[Analyzed], mean_age: float) -> Result:
    """Return the protocol's result for analyzed photos; mean_age is the guess for a photo without a face."""
    faces = [photo.main_face() for photo in photos]
    detected = np.array([face is not None for face in faces])
    age = np.array([mean_age if f is None else float(p.faces.age[f]) for p, f in zip(photos, faces, strict=True)])
    female = np.array([np.nan if f is None else float(p.faces.female[f]) for p, f in zip(photos, faces, strict=True)])
    true_age = np.array([p.sample.age for p in photos])
    true_female = np.array([p.sample.female for p in photos])
    error = np.abs(age - true_age)
    right = detected & ((female > 0.5) == (true_female == 1))

    figures = (
        Figure("age_mae", float(error.mean()), "years"),
        Figure("gender_accuracy", 100 * float(right.mean())),
        Figure("photos_without_face", int((~detected).sum()), "photos"),
        Figure("found_age_mae", float(error[detected].mean()) if detected.any() else np.nan, "years"),
        Figure("found_gender_accuracy", 100 * float(right[detected].mean()) if detected.any() else np.nan),
    )
    groups = {
        "Age": [_age_group(a) for a in true_age],
        "Gender": ["female" if f == 1 else "male" for f in true_female],
        "Race label": [str(p.sample.group) for p in photos],
    }
    return Result(
        "utkface", len(photos), figures, tuple(_table(n, g, error, right, detected) for n, g in groups.items())
    )


def _age_group(age: float) -> str:
    low = max(a for a in AGES if a <= age)
    high = min(a for a in AGES if a > age)
    return f"{low:02d}–{high - 1:02d}" if high < AGES[-1] else f"{low}+"


def _table(
    title: str, groups: list[str], error: metrics.Floats, right: metrics.Flags, detected: metrics.Flags
) -> Table:
    errors, rights, detected_shares = (
        metrics.by_group(values.astype(float), groups) for values in (error, right, detected)
    )
    rows = [(n, errors[n][0], errors[n][1], 100 * rights[n][1], 100 * detected_shares[n][1]) for n in errors]
    return Table(f"By {title.lower()}", (title.lower(), "photos", "age MAE", "gender %", "found %"), rows)
