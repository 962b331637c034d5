"""AFLW (Köstinger et al. 2011, Annotated Facial Landmarks in the Wild): 21 points, pose, faces. Research only.

    data/aflw.sqlite               or aflw.sqlite; tables as its documentation lists them:
                                   Faces(face_id, file_id, db_id), FaceImages(image_id, db_id, file_id, filepath, bw,
                                   width, height), FaceRect(face_id, x, y, w, h, annot_type_id),
                                   FaceEllipse(face_id, x, y, ra, rb, theta, annot_type_id, upsidedown),
                                   FacePose(face_id, roll, pitch, yaw, annot_type_id), in radians,
                                   FeatureCoords(face_id, feature_id, x, y, annot_type_id), feature_id 1 … 21 in the
                                   order of landmarks.NAMES, FaceMetaData(face_id, sex, occluded, glasses, bw, …)
    data/flickr/0/image00002.jpg   photos at filepath

An invisible point has no row: its coordinates are NaN and its visibility 0. The signs of the angles are brought to
ours by directions.py. 1,000 photos are the test part, as in the paper, ours by a stable hash: it names none.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model import landmarks as markup
from model.datasets import Array, Sample, Split, held_out
from model.datasets.files import check, first_of
from model.datasets.photo import ellipse_boxes
from model.datasets.readers.directions import directions

TERMS = "research, non-commercial, by application; photos of Flickr users"
SOURCE = "aflw"
TEST_PHOTOS = 1000
"""Photos held out for test (section III-C1)."""
HELD_OUT = 0.01
"""Share of the other photos that training keeps for validation."""
_TABLES = {
    "photos": "SELECT Faces.face_id, FaceImages.filepath FROM Faces JOIN FaceImages"
    " ON Faces.file_id = FaceImages.file_id AND Faces.db_id = FaceImages.db_id ORDER BY Faces.face_id",
    "rects": "SELECT face_id, x, y, w, h FROM FaceRect",
    "ellipses": "SELECT face_id, ra, rb, theta, x, y FROM FaceEllipse",
    "poses": "SELECT face_id, roll, pitch, yaw FROM FacePose",
    "points": "SELECT face_id, feature_id, x, y FROM FeatureCoords",
    "sexes": "SELECT face_id, sex FROM FaceMetaData",
}


def read(root: Path, test_photos: int = TEST_PHOTOS) -> list[Sample]:
    """Return a sample for each face: box, landmarks, visibility, pose, gender; `faces` counts those of its photo.

    A face without a rectangle takes its ellipse's bounding box, one without both is left out. Raises FileNotFoundError
    naming what is missing, ValueError for a database that is not AFLW's.
    """
    path = first_of((root / "data" / "aflw.sqlite", root / "aflw.sqlite"), SOURCE)
    photos = first_of((root / "data" / "flickr", root / "flickr"), SOURCE)
    tables = _read_tables(path)
    boxes = {row[0]: ellipse_boxes(np.array([row[1:]]))[0] for row in tables["ellipses"]}
    boxes |= {
        row[0]: np.array([row[1], row[2], row[1] + row[3], row[2] + row[4]], np.float32) for row in tables["rects"]
    }
    points = _points(tables["points"])
    poses = {row[0]: np.rad2deg(np.array(row[1:], np.float64)) for row in tables["poses"]}
    sexes = {row[0]: row[1] for row in tables["sexes"]}
    names = {row[0]: str(row[1]) for row in tables["photos"] if row[0] in boxes}
    check(names.values(), photos, SOURCE)
    splits = _splits(set(names.values()), test_photos)
    together = Counter(names.values())
    samples = []
    for face, name in names.items():
        marked = points.get(face)
        samples.append(
            Sample(
                SOURCE,
                f"{name}#{face}",
                photos / name,
                splits[name],
                landmarks=marked,
                visibility=None if marked is None else _visible(marked),
                box=boxes[face],
                pose=poses.get(face),
                female={"f": 1.0, "m": 0.0}.get(sexes.get(face, ""), float("nan")),
                faces=together[name],
            )
        )
    return _turned(samples)


def ellipses(root: Path) -> dict[int, Array]:
    """Return every face's ellipse by face_id: radii, angle in radians, centre x, y. Raises as read does."""
    path = first_of((root / "data" / "aflw.sqlite", root / "aflw.sqlite"), SOURCE)
    return {row[0]: np.array(row[1:], np.float64) for row in _read_tables(path)["ellipses"]}


def _read_tables(path: Path) -> dict[str, list[Any]]:
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return {name: database.execute(query).fetchall() for name, query in _TABLES.items()}
    except sqlite3.DatabaseError as error:
        raise ValueError(f"data set {SOURCE}: {path} is not AFLW's database: {error}") from error


def _points(table: list[Any]) -> dict[int, Array]:
    points: dict[int, Array] = defaultdict(lambda: np.full((markup.COUNT, 2), np.nan, np.float32))
    for face, feature, x, y in table:
        if 1 <= feature <= markup.COUNT:
            points[face][feature - 1] = x, y
    return dict(points)


def _visible(points: Array) -> Array:
    return np.asarray(np.isfinite(points).all(axis=1), np.float32)


def _splits(names: set[str], test_photos: int) -> dict[str, Split]:
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"aflw {name}".encode()).digest())
    splits: dict[str, Split] = dict.fromkeys(ranked[:test_photos], "test")
    return splits | {n: "val" if held_out(f"aflw val {n}", HELD_OUT) else "train" for n in ranked[test_photos:]}


def _turned(samples: list[Sample]) -> list[Sample]:
    """Return the samples with the signs of their angles turned to ours."""
    labelled = [(s.landmarks, s.pose) for s in samples if s.pose is not None and s.landmarks is not None]
    if not labelled:
        return samples
    signs = directions(*(np.stack(part) for part in zip(*labelled, strict=True)))
    return [s if s.pose is None else replace(s, pose=(s.pose * signs).astype(np.float32)) for s in samples]
