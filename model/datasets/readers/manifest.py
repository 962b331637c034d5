"""Photos of one's own: ROOT/manifest.csv, one row a face. Whose the photos are is theirs to say.

Columns, in any order, all but the first optional and any cell may be empty:

    photo             path below ROOT
    split             train (default), val or test
    x1 y1 x2 y2       the face's box in pixels
    age               years;  age_sigma  their standard deviation among those who guessed
    gender            f or m
    smile             1 or 0
    subject           who it is
    group             any further label
    roll pitch yaw    degrees: roll clockwise in the image, nose up, nose to the image's right
    points            path below ROOT of a 68-point .pts, pixels from 0
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import cast, get_args

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample, Split
from model.datasets.files import needed
from model.datasets.machine_landmarks import with_machine_landmarks
from model.datasets.readers.helen import read_pts

TERMS = "the owner's"
SOURCE = "manifest"
_FACE = ("x1", "y1", "x2", "y2")
_ANGLES = ("roll", "pitch", "yaw")
_LABELS = ("age", "age_sigma", "gender", "smile", "subject", "group", "points")
COLUMNS = frozenset(("photo", "split", *_FACE, *_LABELS, *_ANGLES))


def read(root: Path) -> list[Sample]:
    """Return samples in the file's order; names are the photo's path and, from a photo's second face on, '#number'.

    Raises FileNotFoundError naming a missing file, ValueError naming the line of an invalid value.
    """
    path = needed(root / "manifest.csv", SOURCE)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = set(reader.fieldnames or ())
        if "photo" not in columns or columns - COLUMNS:
            raise ValueError(
                f"{path}: columns are photo and any of {sorted(COLUMNS - {'photo'})}, not {sorted(columns)}"
            )
        table = list(reader)
    samples = []
    counts = dict[str, int]()
    for number, row in enumerate(table, start=2):
        values = {key: (value or "").strip() for key, value in row.items() if key in COLUMNS}
        try:
            sample = _sample(root, values)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        counts[sample.name] = counts.get(sample.name, 0) + 1
        name = sample.name if counts[sample.name] == 1 else f"{sample.name}#{counts[sample.name] - 1}"
        samples.append(Sample(**{**sample.__dict__, "name": name}))
    return with_machine_landmarks(samples, root)


def _sample(root: Path, row: dict[str, str]) -> Sample:
    name = row["photo"]
    split = row.get("split") or "train"
    photo = (root / name).resolve()
    if not name or not photo.is_relative_to(root.resolve()):
        raise ValueError(f"{name!r} is no path below the manifest's folder")
    if split not in get_args(Split):
        raise ValueError(f"split {split!r} is none of {get_args(Split)}")
    points = None
    if row.get("points"):
        points = markup.from_68(read_pts(needed(root / row["points"], SOURCE)))
        points[list(markup.EARS)] = np.nan
    return Sample(
        SOURCE,
        name,
        needed(root / name, SOURCE),
        cast(Split, split),
        landmarks=points,
        box=_numbers(row, _FACE),
        pose=_numbers(row, _ANGLES),
        age=_number(row, "age"),
        age_sigma=_number(row, "age_sigma"),
        female=_choice(row, "gender", {"f": 1.0, "m": 0.0}),
        smile=_choice(row, "smile", {"1": 1.0, "0": 0.0}),
        subject=row.get("subject") or None,
        group=row.get("group") or None,
    )


def _number(row: dict[str, str], column: str) -> float:
    text = row.get(column)
    value = float(text) if text else float("nan")
    if text and not np.isfinite(value):
        raise ValueError(f"{column} {text!r} is no number")
    return value


def _numbers(row: dict[str, str], columns: tuple[str, ...]) -> Array | None:
    values = np.array([_number(row, column) for column in columns], np.float32)
    labelled = np.isfinite(values)
    if labelled.any() and not labelled.all():
        raise ValueError(f"{', '.join(columns)} go together")
    return values if labelled.all() else None


def _choice(row: dict[str, str], column: str, choices: dict[str, float]) -> float:
    text = row.get(column)
    if text and text not in choices:
        raise ValueError(f"{column} {text!r} is none of {', '.join(choices)}")
    return choices[text] if text else float("nan")
