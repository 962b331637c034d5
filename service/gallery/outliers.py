"""Media that do not fit their own subject: a stranger's photo among them lets the stranger pass. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from model.identity.calibration import Calibration
from service.gallery import Subject, Vector

OUTLIER_FAR = 1e-2
"""False accept rate whose threshold a medium must reach against the subject's others: 99 of 100 strangers fail it, and
hardly any photo of the person does."""


@dataclass(frozen=True)
class Outlier:
    """A medium by its id, and its similarity to the subject's other media."""

    medium: str
    similarity: float


def find_outliers(subject: Subject, calibration: Calibration) -> list[Outlier]:
    """Return the media that are less like the subject's others than strangers may be, the least similar first.

    The least similar one is put aside first, and the rest is compared without it. Of two media that do not fit each
    other nobody can tell which is wrong: both are returned.
    """
    outliers: list[Outlier] = []
    if len(subject.media) < 2:
        return outliers
    means = np.stack([medium.vectors.mean(axis=0) for medium in subject.media])
    remaining = list(range(len(means)))
    while len(remaining) > 1:
        similarity = _similarities(means[remaining])
        worst = int(similarity.argmin())
        if similarity[worst] >= calibration.threshold(OUTLIER_FAR, (1, len(remaining) - 1)):
            break
        positions = [0, 1] if len(means) == 2 else [worst]
        outliers += [Outlier(subject.media[remaining[at]].id, float(similarity[at])) for at in positions]
        remaining = [number for at, number in enumerate(remaining) if at not in positions]
    return outliers


def _similarities(means: Vector) -> Vector:
    """Return how alike each of the means [N, D] and the template of the others are, [N]; 0 where these cancel out."""
    sums_of_others = means.sum(axis=0) - means
    lengths = np.linalg.norm(sums_of_others, axis=1) * np.linalg.norm(means, axis=1)
    return np.asarray((sums_of_others * means).sum(axis=1) / np.maximum(lengths, 1e-12))
