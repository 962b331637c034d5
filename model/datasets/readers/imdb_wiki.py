"""IMDB-WIKI (Rothe et al. 2015, data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki): age and gender. Research only.

    imdb/imdb.mat  wiki/wiki.mat    a structure 'imdb' or 'wiki' of rows [1, N]: dob (MATLAB's day number), photo_taken
                                    (year), full_path (cell), gender (0 female, 1 male, NaN), name (cell),
                                    face_location (cell of x1 y1 x2 y2 from 1), face_score (-Inf: no face),
                                    second_face_score (NaN: no other face); imdb: celeb_names, celeb_id
    imdb/00/… wiki/00/…             the photos; or imdb_crop/ and wiki_crop/ with the same .mat, faces cut with 40 %

Age is photo_taken less the birth date, the photo taken in the middle of its year, as its authors do. Of the 523,051
photos the paper keeps 224,840 and does not say by which rule; ours: one face (second_face_score NaN), face_score at
least MIN_SCORE, age 0 to 100, gender known.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from model.datasets import Array, Sample, Split, held_out
from model.datasets.files import check, column, first_of, mat
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "academic research, non-commercial"
SOURCE = "imdb_wiki"
PARTS = ("imdb", "wiki")
MIN_SCORE = 1.0
AGES = (0, 100)
HELD_OUT = 0.005
"""Share of photos that training keeps for validation."""
_DAY_ZERO = 366
"""MATLAB's day number of 31 December of the year 0, where Python's ordinals start to count."""


def read(root: Path) -> list[Sample]:
    """Return samples of both parts with age, gender and, of the full photos, the face's box.

    Raises FileNotFoundError naming what is missing, ValueError for a .mat of another kind.
    """
    return with_machine_landmarks([sample for part in PARTS for sample in _part(root, part)], root)


def _part(root: Path, part: str) -> list[Sample]:
    folder = first_of((root / part, root / f"{part}_crop"), SOURCE)
    table = _table(folder / f"{part}.mat", part)
    ages = [age_at(day, year) for day, year in zip(table["dob"], table["photo_taken"], strict=True)]
    cleaned = zip(ages, *(table[field] for field in _CLEANED), strict=True)
    usable = {i: float(row[0]) for i, row in enumerate(cleaned) if clean(*row)}
    paths = [str(path) for path in table["full_path"]]
    check((paths[i] for i in usable), folder, SOURCE)
    samples = []
    for i, age in usable.items():
        name = f"{folder.name}/{paths[i]}"
        split: Split = "val" if held_out(name, HELD_OUT) else "train"
        box = None if folder.name.endswith("_crop") else _box(table["face_location"][i])
        female = 1 - float(table["gender"][i])
        samples.append(Sample(SOURCE, name, folder / paths[i], split, box=box, age=age, female=female))
    return samples


_CLEANED = ("gender", "face_score", "second_face_score")


def clean(age: int | None, gender: float, face_score: float, second_face_score: float) -> bool:
    """Return whether a photo is kept, by the rule in the module's docstring."""
    one_face = np.isfinite(face_score) and face_score >= MIN_SCORE and np.isnan(second_face_score)
    return bool(one_face and age is not None and AGES[0] <= age <= AGES[1] and np.isfinite(gender))


def age_at(day: float, year: float) -> int | None:
    """Return the years from MATLAB's day of birth to the middle of a year; None for a day that no calendar has."""
    if not (np.isfinite(day) and np.isfinite(year)) or int(day) <= _DAY_ZERO:
        return None
    born = datetime.date.fromordinal(int(day) - _DAY_ZERO)
    return int(year) - born.year - ((born.month, born.day) > (7, 1))


def _table(path: Path, part: str) -> dict[str, Any]:
    variables = mat(path, SOURCE)
    structure: Any = variables.get(part)
    fields = ("dob", "photo_taken", "full_path", "face_location", *_CLEANED)
    if missing := [field for field in fields if not hasattr(structure, field)]:
        raise ValueError(f"data set {SOURCE}: {path} has no {part}.{missing[0]}")
    numeric = ("dob", "photo_taken", *_CLEANED)
    table = {field: column(getattr(structure, field), float if field in numeric else object) for field in fields}
    if len(table["dob"]) == 1:
        table["face_location"] = [structure.face_location]
    return table


def _box(location: Any) -> Array:
    """Return a box xyxy of MATLAB's corner pixels, counted from 1; the far edge of the last pixel is included."""
    x1, y1, x2, y2 = np.asarray(location, np.float64).reshape(-1)[:4]
    return np.array([x1 - 1, y1 - 1, x2, y2], np.float32)
