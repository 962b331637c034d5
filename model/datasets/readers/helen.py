"""HELEN (Le et al. 2012) with 300-W's 68 points. Research, non-commercial. Unmarked faces can stand behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample, Split, data_dir, held_out, with_machine_labels

TERMS = "research, non-commercial"


def read_pts(path: Path) -> Array:
    """Return the 68 points [68, 2] of a .pts file, with or without its header. Raises ValueError for another number."""
    lines = path.read_text().replace("{", "\n").replace("}", "\n").splitlines()
    rows = [line.split() for line in lines if line.strip() and ":" not in line]
    points = np.array([[float(x), float(y)] for x, y in rows], np.float32)
    if points.shape != (68, 2):
        raise ValueError(f"{path.name}: 68 points expected, found {len(points)}")
    return points


def read(root: Path | None = None) -> list[Sample]:
    """Return samples with 19 human landmarks (ears from the mesh); 8 % of the training photos are for validation."""
    root = root or data_dir("helen")
    samples = []
    for path in sorted(root.glob("helen/*/*.webp")):
        name = path.relative_to(root / "helen").as_posix()
        points = markup.from_68(read_pts(path.with_suffix(".pts")))
        points[list(markup.EARS)] = np.nan
        split: Split = "test" if path.parent.name == "testset" else "val" if held_out(name, 0.08) else "train"
        samples.append(Sample("helen", f"helen/{name}", path, split, landmarks=points))
    return with_machine_labels(samples, "helen")
