"""FG-NET (1,002 photos of 82 people): mean absolute error of age, leaving one person out (section IV-E, Table IV).

For each person in turn the other 81 are there to learn from; the person's photos are the test; the figure is the mean
error over all photos of all turns. What the paper learns in a turn it does not say; ours is the least that uses the
protocol: ridge regression from the network's age and descriptor to the years, on the other people's photos.
`mae_plain` is the network's own age with nothing learnt. The face taken is Analyzed.main_face; a photo without one is
guessed as the mean age of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets.readers import fgnet
from model.evaluate import metrics
from model.evaluate.result import Figure, Result, Table
from model.evaluate.run import Analyzed, Run

RIDGE = 10.0
"""Weight of the squared coefficients beside the squared errors in years; the columns are of unit variance."""
AGES = (0, 10, 20, 30, 40, 50, 60, 70)


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `fgnet`."""
    return score(run.analyze(run.some(fgnet.read(run.root("fgnet"))), "fgnet"))


def score(photos: Sequence[Analyzed]) -> Result:
    """Return the protocol's result for analyzed photos. Raises ValueError for photos of one person only."""
    faces = [photo.main_face() for photo in photos]
    detected = np.array([face is not None for face in faces])
    truth = np.array([p.sample.age for p in photos])
    people = np.array([str(p.sample.subject) for p in photos])
    if len(np.unique(people)) < 2:
        raise ValueError("leaving one person out needs two people")
    plain = np.array([np.nan if f is None else float(p.faces.age[f]) for p, f in zip(photos, faces, strict=True)])
    features = np.stack(
        [
            np.zeros(513) if f is None else np.append(p.faces.descriptor[f], float(p.faces.age[f]))
            for p, f in zip(photos, faces, strict=True)
        ]
    )
    learnt = leave_one_out(features, truth, people, detected)
    guess = np.array([truth[people != person].mean() for person in people])
    error = np.abs(learnt - truth)
    plain_error = np.abs(np.where(detected, plain, guess) - truth)
    groups = [f"{max(a for a in AGES if a <= age):02d} +" for age in truth]
    rows = [(name, count, mean) for name, (count, mean) in metrics.by_group(error, groups).items()]
    figures = (
        Figure("mae", float(error.mean()), "years"),
        Figure("mae_plain", float(plain_error.mean()), "years"),
        Figure("people", len(np.unique(people)), "people"),
        Figure("photos_without_face", int((~detected).sum()), "photos"),
    )
    return Result("fgnet", len(photos), figures, (Table("By age", ("age", "photos", "MAE"), rows),))


def leave_one_out(
    features: metrics.Floats, ages: metrics.Floats, people: np.ndarray, usable: metrics.Flags
) -> metrics.Floats:
    """Return ages [N] predicted from features [N, D], each person's from the usable photos of the others."""
    predicted = np.zeros(len(ages))
    for person in np.unique(people):
        test = people == person
        train = (people != person) & usable
        mean = ages[people != person].mean()
        if not train.any():
            predicted[test] = mean
            continue
        centre = features[train].mean(axis=0)
        spread = features[train].std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        x = (features[train] - centre) / spread
        offset = ages[train].mean()
        weights = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (ages[train] - offset))
        value = offset + (features[test] - centre) / spread @ weights
        predicted[test] = np.where(usable[test], np.maximum(value, 0), mean)
    return predicted
