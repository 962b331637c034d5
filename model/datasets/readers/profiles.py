"""Synthetic profiles, made by `python -m model.synthesis` from HELEN, CelebA and MTFL. Research, non-commercial.

Every photo has one labelled face with all 21 landmarks, visibility, pose and box. The test part is made of people that
no training photo shows and is never trained on. Other, unlabelled faces can stand in the backgrounds.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from model import landmarks as markup
from model.datasets import Sample, Split, cache_dir

TERMS = "research, non-commercial"
SOURCE = "profiles"


def read(root: Path | None = None) -> list[Sample]:
    """Return samples of all three parts; `group` is the set that the face comes from.

    Raises FileNotFoundError without the photos' labels.npz, ValueError when its arrays do not fit together.
    """
    root = root or cache_dir() / SOURCE
    path = root / "labels.npz"
    if not path.is_file():
        raise FileNotFoundError(f"data set {SOURCE}: no {path}; make it with python -m model.synthesis")
    with np.load(path) as arrays:
        columns = {key: arrays[key] for key in arrays.files}
    count = len(columns["name"])
    shapes = {"points": (count, markup.COUNT, 2), "visibility": (count, markup.COUNT), "pose": (count, 3)}
    for key, shape in {**shapes, "box": (count, 4), "source": (count,), "split": (count,)}.items():
        if columns[key].shape != shape:
            raise ValueError(f"data set {SOURCE}: {key} in {path} is {columns[key].shape}, expected {shape}")
    return [
        Sample(
            SOURCE,
            str(columns["name"][i]),
            root / str(columns["name"][i]),
            cast(Split, str(columns["split"][i])),
            landmarks=columns["points"][i],
            visibility=columns["visibility"][i],
            box=columns["box"][i],
            pose=columns["pose"][i],
            group=str(columns["source"][i]).split("/", 1)[0],
        )
        for i in range(count)
    ]
