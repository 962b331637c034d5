"""FG-NET Aging Database (yanweifu.github.io/FG_NET_data): 1,002 photos of 82 people aged 0 to 69. Research only.

images/001A02.JPG …        person, A, age in years, a letter where there are several of one age
points/001a02.pts …        68 points in FG-NET's own order (not 300-W's): only their extent is used
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from model.datasets import Array, Sample
from model.datasets.files import listing, needed
from model.datasets.machine_landmarks import with_machine_landmarks
from model.datasets.readers.helen import read_pts

TERMS = "research"
SOURCE = "fgnet"
_NAME = re.compile(r"(?P<subject>\d{3})A(?P<age>\d{2})[a-z]*\.jpe?g", re.IGNORECASE)


def read(root: Path) -> list[Sample]:
    """Return samples with age and subject, and the extent of the points as box where points/ is there.

    Raises FileNotFoundError naming what is missing, ValueError for a photo whose name is not FG-NET's.
    """
    folder = needed(root / "images", SOURCE)
    samples = []
    for name in listing(folder, SOURCE):
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"data set {SOURCE}: {folder / name}: the name is no PERSON A AGE.JPG")
        points = root / "points" / f"{Path(name).stem.lower()}.pts"
        age = float(match["age"])
        subject = match["subject"]
        box = _extent(points) if points.is_file() else None
        samples.append(Sample(SOURCE, name, folder / name, "test", box=box, age=age, subject=subject))
    return with_machine_landmarks(samples, root)


def _extent(path: Path) -> Array:
    points = read_pts(path)
    return np.concatenate([points.min(axis=0), points.max(axis=0)])
