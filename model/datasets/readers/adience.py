"""Adience (Eidinger et al. 2014, talhassner.github.io/home/projects/Adience): age groups, gender. Research only.

    fold_0_data.txt … fold_4_data.txt   tab-separated: user_id, original_image, face_id, age, gender, x, y, dx, dy,
                                        tilt_ang, fiducial_yaw_angle, fiducial_score
    aligned/USER/landmark_aligned_face.FACE.IMAGE     or, cut without alignment,
    faces/USER/coarse_tilt_aligned_face.FACE.IMAGE

An age is a group '(25, 32)', a few labels are single years or groups that do not exist ('35', '(27, 32)', '(8, 23)'),
some are None. The label here is the middle of the group; the paper, whose network regresses years, does not say what it
takes. The last group, (60, 100), counts as 70, since its middle would be 80.
"""

from __future__ import annotations

import re
from pathlib import Path

from model.datasets import Sample, Split, held_out
from model.datasets.files import check, first_of, rows
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "research; photos under Creative Commons licences of their owners"
SOURCE = "adience"
FOLDS = 5
GROUPS = ((0, 2), (4, 6), (8, 12), (15, 20), (25, 32), (38, 43), (48, 53), (60, 100))
OLDEST = 70.0
"""Years that the open last group counts as."""
HELD_OUT = 0.01
"""Share of albums (user_id) that training keeps for validation."""
_NUMBERS = re.compile(r"\(?\s*(\d+)\s*(?:,\s*(\d+)\s*\))?")


def age_of(label: str) -> float:
    """Return the years of a label; NaN for None. Raises ValueError for what is no label."""
    if label in ("None", ""):
        return float("nan")
    match = _NUMBERS.fullmatch(label)
    if match is None:
        raise ValueError(f"data set {SOURCE}: {label!r} is no age")
    low, high = float(match[1]), float(match[2] or match[1])
    return OLDEST if (low, high) == GROUPS[-1] else (low + high) / 2


def read(root: Path) -> list[Sample]:
    """Return samples with age, gender ('u' and none: NaN), age label as group; names start with the fold's number.

    Raises FileNotFoundError naming what is missing, ValueError for a malformed line or age.
    """
    folder = first_of((root / "aligned", root / "faces"), SOURCE)
    prefix = "landmark_aligned_face" if folder.name == "aligned" else "coarse_tilt_aligned_face"
    samples = []
    for fold in range(FOLDS):
        path = root / f"fold_{fold}_data.txt"
        for number, row in enumerate(rows(path, SOURCE, "\t")[1:], start=2):
            if len(row) < 5:
                raise ValueError(f"data set {SOURCE}: {path}, line {number}: no face")
            user, image, face, age, gender = row[:5]
            member = f"{user}/{prefix}.{face}.{image}"
            split: Split = "val" if held_out(f"adience {user}", HELD_OUT) else "train"
            samples.append(
                Sample(
                    SOURCE,
                    f"{fold}/{member}",
                    folder / member,
                    split,
                    age=age_of(age),
                    female={"f": 1.0, "m": 0.0}.get(gender, float("nan")),
                    group=age,
                )
            )
    check((s.name.partition("/")[2] for s in samples), folder, SOURCE)
    return with_machine_landmarks(samples, root)
