"""300-W (Sagonas et al. 2013, ibug.doc.ic.ac.uk/resources/300-W) and others in its layout: 68 points. Research only.

    afw/… helen/trainset/… helen/testset/… ibug/… lfpw/trainset/… lfpw/testset/…    NAME.jpg or .png beside NAME.pts

The test part is what 300-W's authors test on: every `testset`, and `ibug`. The points are of MATLAB's pixels, which
count from 1. Mirrored copies (NAME_mirror) are left out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model import landmarks as markup
from model.datasets import Sample, Split, held_out
from model.datasets.files import listing
from model.datasets.readers.helen import read_pts

TERMS = "research, non-commercial"
SOURCE = "pts"
HELD_OUT = 0.02
"""Share of the training photos that training keeps for validation."""


def read(root: Path) -> list[Sample]:
    """Return samples with 19 landmarks: the markup has no ears. Photos without a .pts beside them are left out.

    Raises FileNotFoundError when no photo has one, ValueError for a .pts of another number of points.
    """
    samples = []
    for name in listing(root, SOURCE):
        path = root / name
        marks = path.with_suffix(".pts")
        if path.stem.endswith("_mirror") or not marks.is_file():
            continue
        points = markup.from_68(read_pts(marks)) - np.float32(0.5)
        points[list(markup.EARS)] = np.nan
        parts = path.relative_to(root).parts[:-1]
        split: Split = "val" if held_out(f"pts {name}", HELD_OUT) else "train"
        if "testset" in parts or "ibug" in parts:
            split = "test"
        samples.append(Sample(SOURCE, name, path, split, landmarks=points))
    if not samples:
        raise FileNotFoundError(f"data set {SOURCE}: no photo below {root} has a .pts beside it")
    return samples
