"""CASIA-WebFace (Yi et al. 2014, arXiv:1411.7923): 494,414 photos of 10,575 people. Research, non-commercial.

    CASIA-WebFace/0000045/001.jpg …   a folder for each person, 250 × 250 px
    overlap.txt                       people to leave out, a folder's name a line: those whom a test set has too
    genders.txt                       '0000045 f' a line (f or m): the archive labels no gender, the paper has it
    marks.npz                         landmarks (python -m model.tools.label_landmarks): the archive has none

The last three are optional and lie beside the folder. The paper trains on 10,548 people: all but those of IJB-A.
"""

from __future__ import annotations

from pathlib import Path

from model.datasets import Sample, Split, held_out
from model.datasets.files import listing, needed, rows
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "research, non-commercial; not to be passed on"
SOURCE = "casia"
HELD_OUT = 0.005
"""Share of photos that training keeps for validation."""


def read(root: Path) -> list[Sample]:
    """Return samples with subject and, where genders.txt has it, gender.

    Raises FileNotFoundError naming what is missing, ValueError for a malformed folder name or gender.
    """
    folder = needed(root / "CASIA-WebFace", SOURCE)
    overlap = {row[0] for row in rows(root / "overlap.txt", SOURCE)} if (root / "overlap.txt").is_file() else set()
    genders = _genders(root / "genders.txt")
    samples = []
    for name in listing(folder, SOURCE):
        subject = name.partition("/")[0]
        if not subject.isdigit():
            raise ValueError(f"data set {SOURCE}: {folder / name} is in no person's folder")
        if subject not in overlap:
            split: Split = "val" if held_out(f"casia {name}", HELD_OUT) else "train"
            female = genders.get(subject, float("nan"))
            samples.append(Sample(SOURCE, name, folder / name, split, subject=subject, female=female))
    return with_machine_landmarks(samples, root)


def _genders(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    genders = {row[0]: row[-1].lower() for row in rows(path, SOURCE)}
    if odd := [subject for subject, gender in genders.items() if gender not in ("f", "m")]:
        raise ValueError(f"data set {SOURCE}: {path}: the gender of {odd[0]} is neither f nor m")
    return {subject: float(gender == "f") for subject, gender in genders.items()}
