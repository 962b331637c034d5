"""FDDB (Jain and Learned-Miller 2010, vis-www.cs.umass.edu/fddb): 5,171 faces in 2,845 photos, 10 folds. Research only.

FDDB-folds/FDDB-fold-01.txt … -10.txt                 names of the fold's photos, without .jpg
FDDB-folds/FDDB-fold-01-ellipseList.txt … -10-…       name, number of faces, then for each face: major radius,
                                                      minor radius, angle of the major axis in radians,
                                                      centre x, y, 1
originalPics/2002/07/19/big/img_130.jpg …             photos
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.datasets import Array, Sample
from model.datasets.files import check, needed, rows
from model.datasets.photo import Photo, ellipse_boxes

TERMS = "research; photos of the Berg et al. news collection"
SOURCE = "fddb"
FOLDS = tuple(range(1, 11))


def read_photos(root: Path) -> list[Photo]:
    """Return all photos, fold after fold, with their ellipses and the ellipses' bounding boxes.

    Raises FileNotFoundError naming what is missing, ValueError for a malformed list of ellipses.
    """
    folder = needed(root / "originalPics", SOURCE)
    photos = []
    for fold in FOLDS:
        names = [row[0] for row in rows(root / "FDDB-folds" / f"FDDB-fold-{fold:02d}.txt", SOURCE)]
        marked = _ellipses(root / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt")
        for name in names:
            if name not in marked:
                raise ValueError(f"data set {SOURCE}: fold {fold} has no ellipses of {name}")
            ellipses = marked[name]
            sample = Sample(SOURCE, name, folder / f"{name}.jpg", "test", faces=len(ellipses), group=str(fold))
            photos.append(Photo(sample, ellipse_boxes(ellipses), np.zeros(len(ellipses), bool), ellipses, fold))
    check((f"{photo.sample.name}.jpg" for photo in photos), folder, SOURCE)
    return photos


def read(root: Path) -> list[Sample]:
    """Return a sample for each face, with its ellipse's bounding box; the fold's number is the group."""
    return [sample for photo in read_photos(root) for sample in photo.samples()]


def _ellipses(path: Path) -> dict[str, Array]:
    lines = iter(rows(path, SOURCE))
    ellipses_of_photo: dict[str, Array] = {}
    try:
        for (name,) in lines:
            (count,) = next(lines)
            faces = [[float(value) for value in next(lines)[:5]] for _ in range(int(count))]
            ellipses_of_photo[name] = np.array(faces, np.float64).reshape(-1, 5)
    except (ValueError, StopIteration) as error:
        raise ValueError(f"data set {SOURCE}: {path} is no list of ellipses") from error
    return ellipses_of_photo
