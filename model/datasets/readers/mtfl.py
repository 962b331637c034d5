"""MTFL's web faces (Zhang et al. 2014): five points, gender, smile, glasses, pose class, face box.

Research, non-commercial.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample, data_dir, held_out, with_machine_labels

TERMS = "research, non-commercial"


def read(root: Path | None = None) -> list[Sample]:
    """Return samples with gender, smile, glasses, five landmarks and the pose class '1' … '5' as group.

    A tenth is validation. The nose tip is left to the mesh: MTFL's definition of it differs most from the 21 points'.
    """
    root = root or data_dir("mtfl_net")
    samples = []
    with (root / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            name = row["image"]
            samples.append(
                Sample(
                    "mtfl_net",
                    name,
                    root / name,
                    "val" if held_out(name, 0.1) else "train",
                    landmarks=_points(row),
                    box=np.array([float(row[f"box_{side}"]) for side in ("left", "top", "right", "bottom")]),
                    female=float(row["gender"]) - 1,
                    smile=2 - float(row["smile"]),
                    glasses=2 - float(row["glasses"]),
                    group=row["pose"],
                )
            )
    return with_machine_labels(samples, "mtfl_net")


def _points(row: dict[str, str]) -> Array:
    points = np.full((markup.COUNT, 2), np.nan, np.float32)
    names = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
    for index, name in zip(markup.MTFL, names, strict=True):
        if name != "nose":
            points[index] = float(row[f"x_{name}"]), float(row[f"y_{name}"])
    return points
