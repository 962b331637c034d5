"""ChaLearn Faces of the World (Escalera et al. 2016), the smile and gender track. ChaLearn's terms, research.

    train_gt.csv  valid_gt.csv     image_name, bbox_x, bbox_y, bbox_width, bbox_height, gender (0 male, 1 female,
                                   2 not sure), smile (0, 1)
    train/…  valid/…               photos

The track's pages are gone and its archive has come in several namings: columns are found by their names in the header,
whatever their order, and the names above were not checked against the original.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from model.datasets import Sample, Split
from model.datasets.files import check, first_of, needed
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "ChaLearn's: research, non-commercial"
SOURCE = "fotw"
COLUMNS = ("image_name", "bbox_x", "bbox_y", "bbox_width", "bbox_height", "gender", "smile")
_PARTS: tuple[tuple[Split, tuple[str, ...]], ...] = (("train", ("train",)), ("test", ("valid", "val", "validation")))


def read(root: Path) -> list[Sample]:
    """Return a sample for each line: box, gender (not sure: NaN), smile; the scored validation set is 'test' here.

    Raises FileNotFoundError naming what is missing, ValueError for a table without one of COLUMNS or a row of none.
    """
    samples = []
    for split, names in _PARTS:
        folder = first_of((root / name for name in names), SOURCE)
        path = first_of((root / f"{name}_gt.csv" for name in names), SOURCE)
        part = _part(path, folder, split)
        check((s.path.relative_to(folder).as_posix() for s in part), folder, SOURCE)
        samples += part
    return with_machine_landmarks(samples, root)


def _part(path: Path, folder: Path, split: Split) -> list[Sample]:
    with needed(path, SOURCE).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"data set {SOURCE}: {path} has no column {missing[0]}")
        table = list(reader)
    samples = []
    for number, row in enumerate(table, start=2):
        try:
            x, y, width, height = (float(row[name]) for name in COLUMNS[1:5])
            female = {"0": 0.0, "1": 1.0, "2": float("nan")}[row["gender"].strip()]
            smile = {"0": 0.0, "1": 1.0}[row["smile"].strip()]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"data set {SOURCE}: {path}, line {number}: no face") from error
        box = np.array([x, y, x + width, y + height], np.float32)
        name = row["image_name"].strip()
        samples.append(
            Sample(SOURCE, f"{path.stem}/{number}/{name}", folder / name, split, box=box, female=female, smile=smile)
        )
    return samples
