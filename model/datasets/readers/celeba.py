"""CelebA (Liu et al. 2015, mmlab.ie.cuhk.edu.hk/projects/CelebA.html): gender, smile, identity.

Research, non-commercial. `read` knows our small copies, in the wild and aligned, and who wears glasses there;
`read_archive` the original:

    Img/img_celeba/000001.jpg …          or img_celeba/; the photos in the wild, 202,599
    Anno/list_attr_celeba.txt            number of photos, names of 40 attributes, then a photo a line: 1 or -1 each
    Anno/list_landmarks_celeba.txt       the same with x, y of eyes, nose, mouth corners
    Anno/list_bbox_celeba.txt            the same with x_1 y_1 width height
    Anno/identity_CelebA.txt             photo and person's number
    Eval/list_eval_partition.txt         photo and 0 train, 1 validation, 2 test
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample, Split, data_dir, held_out, with_machine_labels
from model.datasets.files import check, first_of, rows
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "research, non-commercial"
SOURCE = "celeba"
HELD_OUT = 0.005
"""Share of the archive's people that training keeps for validation."""


def read(name: Literal["celeba_wild", "celeba_aligned_small"], root: Path | None = None) -> list[Sample]:
    """Return samples with gender, smile, glasses and subject; a tenth of the training people are the validation part.

    Which people those are does not depend on the set, so that nobody is in train and validation both.
    """
    root = root or data_dir(name)
    samples = []
    with (root / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            member = f"{row['partition']}/{row['image']}"
            held = held_out(f"celeba {row['identity']}", 0.1)
            split: Split = "test" if row["partition"] == "test" else "val" if held else "train"
            samples.append(
                Sample(
                    name,
                    member,
                    root / member,
                    split,
                    female=1 - float(row["Male"]),
                    smile=float(row["Smiling"]),
                    glasses=float(row.get("Eyeglasses", "nan")),
                    subject=row["identity"],
                )
            )
    return with_machine_labels(samples, name)


def read_archive(root: Path) -> list[Sample]:
    """Return samples of the original archive: gender, smile, subject, five landmarks, box.

    The split 'test' is its test partition; the paper trains on the other two, 182,637 photos (Table I), of which a few
    people are 'val' here. Raises FileNotFoundError naming what is missing, ValueError for tables that disagree.
    """
    folder = first_of((root / "Img" / "img_celeba", root / "img_celeba"), SOURCE)
    attributes = _by_photo(root / "Anno" / "list_attr_celeba.txt")
    boxes = _by_photo(root / "Anno" / "list_bbox_celeba.txt")
    points = _by_photo(root / "Anno" / "list_landmarks_celeba.txt")
    people = {row[0]: {"subject": row[1]} for row in rows(root / "Anno" / "identity_CelebA.txt", SOURCE)}
    parts = {row[0]: {"part": row[1]} for row in rows(root / "Eval" / "list_eval_partition.txt", SOURCE)}
    for table, title in ((boxes, "boxes"), (points, "landmarks"), (people, "identities"), (parts, "partition")):
        if table.keys() != attributes.keys():
            raise ValueError(f"data set {SOURCE}: {title} and attributes are not of the same photos")
    check(attributes, folder, SOURCE)
    samples = []
    for name, row in attributes.items():
        subject = people[name]["subject"]
        split: Split = "test" if parts[name]["part"] == "2" else "train"
        if split == "train" and held_out(f"celeba {subject}", HELD_OUT):
            split = "val"
        x, y, width, height = (float(boxes[name][key]) for key in ("x_1", "y_1", "width", "height"))
        samples.append(
            Sample(
                SOURCE,
                name,
                folder / name,
                split,
                landmarks=_five(points[name]),
                box=np.array([x, y, x + width, y + height], np.float32),
                female=float(row["Male"] == "-1"),
                smile=float(row["Smiling"] == "1"),
                subject=subject,
            )
        )
    return with_machine_landmarks(samples, root)


def _by_photo(path: Path) -> dict[str, dict[str, str]]:
    """Return an archive's table: number of photos, columns, rows. Raises ValueError for another kind of file."""
    (count, *_), columns, *table = rows(path, SOURCE)
    columns = columns[1:] if columns[0] == "image_id" else columns
    if not count.isdigit() or int(count) != len(table) or any(len(row) != len(columns) + 1 for row in table):
        raise ValueError(f"data set {SOURCE}: {path} does not hold what its first two lines announce")
    return {row[0]: dict(zip(columns, row[1:], strict=True)) for row in table}


def _five(row: dict[str, str]) -> Array:
    points = np.full((markup.COUNT, 2), np.nan, np.float32)
    for index, name in zip(markup.MTFL, ("lefteye", "righteye", "nose", "leftmouth", "rightmouth"), strict=True):
        points[index] = float(row[f"{name}_x"]), float(row[f"{name}_y"])
    return points
