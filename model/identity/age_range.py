"""Ranges that hold the true age of a face with a promised chance, from the errors on people of a validation part.

Conformal prediction conditional on the label (Vovk et al. 2005): for each true age the estimates of validation faces
say between which two estimates a face of that age lies with that chance. The range of an estimate are the ages between
whose two estimates it lies. So the promise is kept for the young and the old alike, while a range around the estimate
alone keeps it on average only: estimates lean to the middle, and errors of the young are smaller. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

CONFIG_KEY = "age_ranges"
"""Where a checkpoint's configuration keeps them."""
COVERAGE = 0.8
"""Share of the faces whose true age the range holds."""
LEAST = 20
"""Faces of a group; a smaller one is joined to its neighbour, since its quantiles would be noise."""
STEP = 5.0
"""Width in years of the groups of true ages."""
AGES = np.arange(0, 121, 0.1)
"""Ages in years that a range can end at."""


@dataclass(frozen=True)
class AgeRanges:
    """How far estimates lie from true ages: quantiles of estimate minus age, in years, at some true ages."""

    coverage: float
    ages: tuple[float, ...]  # mean true age of each group, rising; between them the quantiles are interpolated
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    faces: int  # how many the quantiles are from

    def range(self, age: float) -> tuple[float, float]:
        """Return the low and the high end in years for an estimated age, which lies between them.

        Raises ValueError for a value that is not finite.
        """
        if not np.isfinite(age):
            raise ValueError(f"an age is a finite number of years, not {age}")
        lowest, highest = self._estimates
        low = AGES[min(int(np.searchsorted(highest, age)), len(AGES) - 1)]
        high = AGES[max(int(np.searchsorted(lowest, age, side="right")) - 1, 0)]
        return max(min(float(low), age), 0.0), max(float(high), age, 0.0)

    @cached_property
    def _estimates(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest estimate of a face of each of the AGES."""
        lowest = np.maximum(AGES + np.interp(AGES, self.ages, self.lower), 0)
        highest = AGES + np.interp(AGES, self.ages, self.upper)
        return np.maximum.accumulate(lowest), np.maximum.accumulate(highest)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-like, for a checkpoint's header."""
        return asdict(self)

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> AgeRanges | None:
        """Return the ranges in a checkpoint's configuration, None for one without. Raises ValueError."""
        return cls.from_dict(config[CONFIG_KEY]) if CONFIG_KEY in config else None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AgeRanges:
        """Return what as_dict() described. Raises ValueError for anything else."""
        try:
            columns = {name: tuple(float(value) for value in data[name]) for name in ("ages", "lower", "upper")}
            ranges = cls(coverage=float(data["coverage"]), faces=int(data["faces"]), **columns)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("these are no age ranges") from error
        if not ranges.ages or len({len(ranges.ages), len(ranges.lower), len(ranges.upper)}) > 1:
            raise ValueError("age ranges need a lower and an upper quantile for each age")
        return ranges


def fit_age_ranges(estimates: Floats, ages: Floats, coverage: float = COVERAGE) -> AgeRanges:
    """Return the ranges from estimated and true ages [N] in years of faces that no training has seen.

    Each tail outside the range has half of what `coverage` leaves. Raises ValueError for fewer than LEAST faces, for
    columns of different lengths and for a coverage that is not between 0 and 1.
    """
    estimates = np.asarray(estimates, np.float64)
    ages = np.asarray(ages, np.float64)
    if estimates.shape != ages.shape or estimates.ndim != 1 or len(ages) < LEAST:
        raise ValueError(f"age ranges need {LEAST} faces with an estimate and a true age, got {len(estimates)}")
    if not 0 < coverage < 1:
        raise ValueError(f"a coverage lies between 0 and 1, not {coverage}")
    groups = np.searchsorted(_group_starts(ages), ages, side="right") - 1
    tail = (1 - coverage) / 2
    members = [groups == number for number in range(int(groups.max()) + 1)]
    errors = [estimates[chosen] - ages[chosen] for chosen in members]
    return AgeRanges(
        coverage=coverage,
        ages=tuple(float(ages[chosen].mean()) for chosen in members),
        lower=tuple(_quantile(group, tail) for group in errors),
        upper=tuple(_quantile(group, 1 - tail) for group in errors),
        faces=len(ages),
    )


def _group_starts(ages: Floats) -> list[float]:
    """Return where the groups begin: every STEP years, but each group has LEAST faces."""
    starts = [min(0.0, float(ages.min()))]
    for start in np.arange(STEP, ages.max() + STEP, STEP):
        inside = int(((ages >= starts[-1]) & (ages < start)).sum())
        if inside >= LEAST and int((ages >= start).sum()) >= LEAST:
            starts.append(float(start))
    return starts


def _quantile(values: Floats, share: float) -> float:
    """Return the value below which a new one lies with a chance of `share`, the new one counted as well."""
    return float(np.quantile(values, share, method="weibull"))
