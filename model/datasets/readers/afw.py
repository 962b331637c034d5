"""AFW (Zhu and Ramanan 2012, ics.uci.edu/~xzhu/face): 468 faces in 205 photos: boxes, yaw, six points. Research only.

    testimages/anno.mat        or anno.mat: a cell 'anno' [205, 4] of file name; cell of boxes [2, 2], x1 y1; x2 y2;
                               cell of poses [3], yaw, pitch, roll in degrees, yaw a multiple of 15;
                               cell of points [6, 2], NaN where hidden
    testimages/134212_1.jpg …  photos

The archive's own file is MATLAB 7.3 (HDF5, read with h5py), its re-saved copies are older; both are read. The order of
the six points is taken to be eyes, nose tip, mouth left, centre, right, left to right in the image; where that is not
so for most faces that have all six, a ValueError says so. Coordinates count from 1. The sign of yaw is brought to ours
by directions.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.files import check, first_of, mat
from model.datasets.photo import Photo
from model.datasets.readers.directions import directions

TERMS = "research; photos of Flickr users"
SOURCE = "afw"
POINTS = (7, 10, 14, 17, 18, 19)
"""Where the six points stand among the 21."""


_Line = tuple[str, list[Array], list[Array], list[Array]]
"""A photo's name and its faces' boxes, poses and points, as the file has them."""


@dataclass(frozen=True, eq=False)
class _Row:
    """One line of the cell: a photo's name and its N faces."""

    name: str
    boxes: Array  # [N, 4]
    poses: Array  # [N, 3] roll, pitch, yaw in degrees, AFW's signs
    points: Array  # [N, 21, 2]


def read(root: Path) -> list[Sample]:
    """Return a sample for each face, with box, pose, landmarks and visibility. Raises as read_photos does."""
    path, table = _read(root)
    folder = path.parent if any(path.parent.glob("*.jpg")) else root / "testimages"
    check((row.name for row in table), folder, SOURCE)
    points = np.concatenate([r.points for r in table])
    poses = np.concatenate([r.poses for r in table])
    _check_order(points, path)
    signs = directions(points, poses)
    samples = []
    for row in table:
        photo = _photo(row, folder)
        visible = np.isfinite(row.points).all(axis=2).astype(np.float32)
        samples += photo.samples(landmarks=row.points, pose=row.poses * signs, visibility=visible)
    return samples


def read_photos(root: Path) -> list[Photo]:
    """Return all photos with the boxes of their faces.

    Raises FileNotFoundError naming what is missing, ValueError for an annotation that is not AFW's.
    """
    photos: dict[str, list[Sample]] = {}
    for sample in read(root):
        photos.setdefault(sample.name.rpartition("#")[0], []).append(sample)
    return [
        Photo(
            replace(faces[0], name=name, box=None, landmarks=None, visibility=None, pose=None),
            np.stack([s.box for s in faces if s.box is not None]),
            np.zeros(len(faces), bool),
        )
        for name, faces in photos.items()
    ]


def _photo(row: _Row, folder: Path) -> Photo:
    sample = Sample(SOURCE, row.name, folder / row.name, "test", faces=len(row.boxes))
    return Photo(sample, row.boxes, np.zeros(len(row.boxes), bool))


def _read(root: Path) -> tuple[Path, list[_Row]]:
    path = first_of((root / "testimages" / "anno.mat", root / "anno.mat"), SOURCE)
    try:
        table = np.atleast_2d(mat(path, SOURCE).get("anno", np.zeros((0, 4))))
        lines = [(str(name), _cell(boxes), _cell(poses), _cell(points)) for name, boxes, poses, points in table]
    except NotImplementedError:
        lines = _hdf5(path)
    except ValueError as error:
        raise ValueError(f"data set {SOURCE}: {path} holds no AFW annotation") from error
    if not lines:
        raise ValueError(f"data set {SOURCE}: {path} holds no AFW annotation")
    return path, [_row(*line) for line in lines]


def _cell(value: Any) -> list[Array]:
    """Return the arrays of a cell; a cell of one element is squeezed to that element."""
    array = np.asarray(value)
    items = array.reshape(-1) if array.dtype == object else [array]
    return [np.asarray(item, np.float64) for item in items]


def _hdf5(path: Path) -> list[_Line]:
    """Return the arrays of a MATLAB 7.3 file, where arrays are transposed and cells are references."""
    try:
        import h5py  # noqa: PLC0415 - an extra that only this file needs
    except ImportError as error:
        raise ValueError(f"data set {SOURCE}: {path} is MATLAB 7.3, which needs h5py") from error
    lines: list[_Line] = []
    with h5py.File(path, "r") as file:
        for name, *cells in zip(*np.asarray(file["anno"]), strict=True):
            text = "".join(chr(int(code)) for code in np.ravel(file[name]))
            faces = [[_transposed(file[item]) for item in np.ravel(file[cell])] for cell in cells]
            lines.append((text, faces[0], faces[1], faces[2]))
    return lines


def _transposed(value: Any) -> Array:
    return np.asarray(value, np.float64).T


def _row(name: str, boxes: list[Array], poses: list[Array], points: list[Array]) -> _Row:
    corners = np.stack(boxes).reshape(-1, 4) - (1, 1, 0, 0)
    # yaw, pitch, roll → roll, pitch, yaw
    angles = np.stack([np.ravel(pose) for pose in poses])[:, ::-1]
    marked = np.full((len(boxes), markup.COUNT, 2), np.nan, np.float32)
    marked[:, list(POINTS)] = np.stack(points) - 0.5
    return _Row(name, corners.astype(np.float32), angles.astype(np.float32), marked)


def _check_order(points: Array, path: Path) -> None:
    six = points[:, list(POINTS)]
    six = six[np.isfinite(six).all(axis=(1, 2))]
    if not len(six):
        return
    x, y = six[..., 0], six[..., 1]
    across = (x[:, 0] < x[:, 1]) & (x[:, 3] < x[:, 4]) & (x[:, 4] < x[:, 5])
    down = (y[:, :2].mean(axis=1) < y[:, 2]) & (y[:, 2] < y[:, 3:].mean(axis=1))
    if (across & down).mean() < 0.5:
        raise ValueError(f"data set {SOURCE}: {path}: the six points are not in the order expected")
