"""How often the age range of an answer holds the true age: UTKFace's test folder, overall and by decade.

The ranges are those of the checkpoint, fitted by model.tools.calibrate on the validation part. Photos without a face
are left out, since they have no answer. The promise is for each true age; by decade of the estimated age, which is what
a caller knows, it need not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.evaluate import metrics, utkface
from model.evaluate.result import Figure, Result, Table
from model.evaluate.run import Analyzed, Run
from model.identity.age_range import AgeRanges

OLDEST = 80
"""Start of the last decade of the tables, which has no end."""


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `utkface`, ValueError for a checkpoint without age ranges."""
    ranges = run.analyzer.age_ranges
    if ranges is None:
        raise ValueError("the checkpoint has no age ranges: join the part that model.tools.calibrate writes")
    return score(run.analyze(run.some(utkface.test_samples(run)), "utkface"), ranges)


def score(photos: Sequence[Analyzed], ranges: AgeRanges) -> Result:
    """Return the share of the true ages that lie in their range, in per cent."""
    estimated, true = estimates(photos)
    ends = np.array([ranges.range(age) for age in estimated]).reshape(-1, 2)
    inside = (ends[:, 0] <= true) & (true <= ends[:, 1])
    width = ends[:, 1] - ends[:, 0]
    figures = (
        Figure("age_range_coverage", 100 * float(inside.mean()) if len(inside) else np.nan),
        Figure("age_range_width", float(width.mean()) if len(width) else np.nan, "years"),
    )
    tables = (_table("estimated age", estimated, inside, width), _table("true age", true, inside, width))
    return Result("age-ranges", len(true), figures, tables)


def estimates(photos: Sequence[Analyzed]) -> tuple[metrics.Floats, metrics.Floats]:
    """Return the estimated and the true age [N] of the photos with a face."""
    pairs = [
        (float(photo.faces.age[face]), float(photo.sample.age))
        for photo in photos
        if (face := photo.main_face()) is not None and photo.sample.age is not None
    ]
    columns = np.array(pairs, np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def _table(title: str, ages: metrics.Floats, inside: metrics.Flags, width: metrics.Floats) -> Table:
    rows = []
    for low in range(0, OLDEST + 1, 10):
        in_decade = (ages >= low) & ((ages < low + 10) | (low == OLDEST))
        if in_decade.any():
            name = f"{low} +" if low == OLDEST else f"{low:02d}–{low + 9}"
            rows.append(
                (name, int(in_decade.sum()), 100 * float(inside[in_decade].mean()), float(width[in_decade].mean()))
            )
    return Table(f"By {title}", (title, "photos", "coverage %", "width, years"), rows)
