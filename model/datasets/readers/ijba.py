"""IJB-A (Klare et al. 2015, NIST): 500 people, 5,397 photos, 20,412 frames; templates in 10 splits. NIST's terms.

    IJB-A_11_sets/split1/train_1.csv                  columns TEMPLATE_ID, SUBJECT_ID, FILE, MEDIA_ID, SIGHTING_ID,
    IJB-A_11_sets/split1/verify_metadata_1.csv        FRAME, FACE_X, FACE_Y, FACE_WIDTH, FACE_HEIGHT, …: a face a row,
                                                      a template's rows are its faces, a medium's its frames
    IJB-A_11_sets/split1/verify_comparisons_1.csv     two TEMPLATE_IDs a line, no header
    IJB-A_1N_sets/split1/train_1.csv, search_gallery_1.csv, search_probe_1.csv … to split10
    images/img/…  images/frame/…                      photos at FILE

In the 1:N sets some people of the probes are not in the gallery: that is the open set.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.datasets import Sample
from model.datasets.files import check, needed, rows

TERMS = "by agreement with NIST; research"
SOURCE = "ijba"
SPLITS = tuple(range(1, 11))
COLUMNS = ("TEMPLATE_ID", "SUBJECT_ID", "FILE", "MEDIA_ID", "FACE_X", "FACE_Y", "FACE_WIDTH", "FACE_HEIGHT")


@dataclass(frozen=True, eq=False)
class TemplateFaces:
    """A template: whose it is and its faces; a face's group is its medium, faces of one photo share their name."""

    number: int
    subject: str
    faces: tuple[Sample, ...]


@dataclass(frozen=True)
class Verification:
    """One split of the 1:1 protocol: templates to learn from, templates to compare, pairs of their numbers."""

    train: list[TemplateFaces]
    templates: list[TemplateFaces]
    pairs: list[tuple[int, int]]


@dataclass(frozen=True)
class Identification:
    """One split of the 1:N protocol."""

    train: list[TemplateFaces]
    gallery: list[TemplateFaces]
    probes: list[TemplateFaces]


def read_verification(root: Path, split: int) -> Verification:
    """Return one split of the 1:1 protocol.

    Raises FileNotFoundError naming what is missing, ValueError for a row that is no face or a pair of no template.
    """
    folder = root / "IJB-A_11_sets" / f"split{split}"
    train = _templates(root, folder / f"train_{split}.csv")
    templates = _templates(root, folder / f"verify_metadata_{split}.csv")
    path = folder / f"verify_comparisons_{split}.csv"
    template_numbers = {t.number for t in templates}
    pairs = []
    for number, row in enumerate(rows(path, SOURCE, ","), start=1):
        if len(row) != 2 or not all(field.isdigit() and int(field) in template_numbers for field in row):
            raise ValueError(f"data set {SOURCE}: {path}, line {number}: no pair of the split's templates")
        pairs.append((int(row[0]), int(row[1])))
    return Verification(train, templates, pairs)


def read_identification(root: Path, split: int) -> Identification:
    """Return one split of the 1:N protocol. Raises as read_verification does."""
    folder = root / "IJB-A_1N_sets" / f"split{split}"
    names = (f"train_{split}.csv", f"search_gallery_{split}.csv", f"search_probe_{split}.csv")
    return Identification(*(_templates(root, folder / name) for name in names))


def read(root: Path) -> list[Sample]:
    """Return every face of every split once: box, subject, medium as group. Raises as read_verification does."""
    faces: dict[str, Sample] = {}
    for split in SPLITS:
        one = read_verification(root, split)
        many = read_identification(root, split)
        for part in (one.train, one.templates, many.train, many.gallery, many.probes):
            faces |= {face.name: face for template in part for face in template.faces}
    return list(faces.values())


def check_photos(root: Path, samples: Sequence[Sample]) -> None:
    """Raises FileNotFoundError naming the first photo that is missing."""
    folder = needed(root / "images", SOURCE)
    check((s.path.relative_to(folder).as_posix() for s in samples), folder, SOURCE)


def _templates(root: Path, path: Path) -> list[TemplateFaces]:
    faces: dict[int, list[Sample]] = {}
    for number, row in enumerate(_rows(path), start=2):
        try:
            template = int(row["TEMPLATE_ID"])
            x, y, width, height = (float(row[key]) for key in COLUMNS[4:])
        except (ValueError, TypeError) as error:
            raise ValueError(f"data set {SOURCE}: {path}, line {number}: no face") from error
        name = row["FILE"].strip()
        box = np.array([x, y, x + width, y + height], np.float32)
        faces.setdefault(template, []).append(
            Sample(
                SOURCE,
                f"{name}@{x:g},{y:g},{width:g},{height:g}",
                root / "images" / name,
                "test",
                box=box,
                subject=row["SUBJECT_ID"].strip(),
                group=row["MEDIA_ID"].strip(),
            )
        )
    for number, members in faces.items():
        if len({s.subject for s in members}) > 1:
            raise ValueError(f"data set {SOURCE}: {path}: template {number} is of two people")
    return [TemplateFaces(number, str(members[0].subject), tuple(members)) for number, members in faces.items()]


def _rows(path: Path) -> list[dict[str, str]]:
    with needed(path, SOURCE).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
            raise ValueError(f"data set {SOURCE}: {path} has no column {missing[0]}")
        return list(reader)
