"""ChaLearn LAP 2015 (Escalera et al. 2015), apparent age: 2,476 training, 1,136 validation photos. ChaLearn's terms.

Train.csv  Validation.csv      photo;mean;standard deviation of the guessed ages, without a header
Train/image_1.jpg …  Validation/…
"""

from __future__ import annotations

from pathlib import Path

from model.datasets import Sample, Split
from model.datasets.files import check, needed, rows
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "ChaLearn's: research, non-commercial"
SOURCE = "lap"
_PARTS: tuple[tuple[Split, str], ...] = (("train", "Train"), ("test", "Validation"))


def read(root: Path) -> list[Sample]:
    """Return samples with age and age_sigma; the validation set, which the paper scores, is 'test' here.

    Raises FileNotFoundError naming what is missing, ValueError for a malformed line.
    """
    samples = []
    for split, part in _PARTS:
        folder = needed(root / part, SOURCE)
        path = root / f"{part}.csv"
        names = []
        for number, row in enumerate(rows(path, SOURCE, ";"), start=1):
            try:
                name = row[0]
                age = float(row[1])
                sigma = float(row[2])
            except (ValueError, IndexError) as error:
                raise ValueError(f"data set {SOURCE}: {path}, line {number}: no photo;mean;deviation") from error
            if sigma <= 0:
                raise ValueError(f"data set {SOURCE}: {path}, line {number}: a deviation of {sigma}")
            names.append(name)
            samples.append(Sample(SOURCE, f"{part}/{name}", folder / name, split, age=age, age_sigma=sigma))
        check(names, folder, SOURCE)
    return with_machine_landmarks(samples, root)
