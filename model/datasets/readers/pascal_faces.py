"""PASCAL faces (Yan et al. 2014): 1,335 faces in 851 photos of PASCAL VOC's person layout. VOC's terms.

The annotation is that of 'Face detection without bells and whistles' (Mathias et al. 2014), as its authors' evaluation
kit has it, or the text that Dollár's toolbox makes of it:

    Annotations_Face_PASCALLayout_large_fixed.mat     structures 'Annotations': imgname, objects [N, 4 to 6] of
                                                      left, top, right, bottom (from 1), pose, 1 for difficult
    annotations/2008_000008.txt …                     '% bbGt version=3' (or 4), then a face a line: label, left, top,
                                                      width, height, 6 numbers, ignore, angle (class)
    images/2008_000008.jpg …                          or JPEGImages/; photos
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model.datasets import Array, Sample
from model.datasets.files import check, column, first_of, listing, mat, rows
from model.datasets.photo import Photo

TERMS = "research; photos of Flickr users (PASCAL VOC)"
SOURCE = "pascal_faces"
FILE = "Annotations_Face_PASCALLayout_large_fixed.mat"


def read_photos(root: Path) -> list[Photo]:
    """Return all photos with their faces' boxes; a difficult face is marked so.

    Raises FileNotFoundError naming what is missing, ValueError for an annotation of another kind.
    """
    folder = first_of((root / "images", root / "JPEGImages"), SOURCE)
    place = first_of((root / FILE, root / "annotations"), SOURCE)
    marked = _from_text(place, folder) if place.is_dir() else _from_mat(place)
    check(marked, folder, SOURCE)
    photos = []
    for name, objects in marked.items():
        sample = Sample(SOURCE, name, folder / name, "test", faces=len(objects))
        boxes = objects[:, :4] - (1, 1, 0, 0)
        photos.append(Photo(sample, boxes.astype(np.float32), objects[:, 4] > 0))
    return photos


def read(root: Path) -> list[Sample]:
    """Return a sample for each face, with its box. Raises as read_photos does."""
    return [sample for photo in read_photos(root) for sample in photo.samples()]


def _from_mat(path: Path) -> dict[str, Array]:
    """Return rows [N, 5] by photo: left, top, right, bottom, difficult."""
    annotations = column(mat(path, SOURCE).get("Annotations", []))
    if not len(annotations) or not hasattr(annotations[0], "imgname"):
        raise ValueError(f"data set {SOURCE}: {path} holds no Annotations")
    return {Path(str(entry.imgname)).name: _objects(entry.objects, path) for entry in annotations}


def _objects(value: Any, path: Path) -> Array:
    table = np.atleast_2d(np.asarray(value, np.float64))
    if table.size == 0:
        return np.zeros((0, 5))
    if table.shape[1] < 4:
        raise ValueError(f"data set {SOURCE}: {path}: objects of {table.shape[1]} numbers")
    difficult = table[:, 5] if table.shape[1] > 5 else np.zeros(len(table))
    return np.column_stack([table[:, :4], difficult])


def _from_text(folder: Path, photos: Path) -> dict[str, Array]:
    names = {Path(name).stem: name for name in listing(photos, SOURCE)}
    marked: dict[str, Array] = {}
    for path in sorted(folder.glob("*.txt")):
        lines = [row for row in rows(path, SOURCE) if not row[0].startswith("%")]
        try:
            table = np.array([[float(value) for value in row[1:]] for row in lines]).reshape(len(lines), -1)
            faces = np.zeros((len(lines), 5))
            if lines:
                faces[:, :2] = table[:, :2]
                faces[:, 2:4] = table[:, :2] + table[:, 2:4] - 1
                faces[:, 4] = table[:, 9]
        except (ValueError, IndexError) as error:
            raise ValueError(f"data set {SOURCE}: {path} is no bbGt annotation") from error
        marked[names.get(path.stem, f"{path.stem}.jpg")] = faces
    return marked
