"""Data sets: one reader a file, all yielding Sample; NaN (or None) is what a set does not label."""

from __future__ import annotations

import hashlib
import os
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "val", "test"]
Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Sample:
    """One photo and what is known of the one face marked in it; coordinates are its pixels."""

    source: str  # the data set's name
    name: str  # unique inside the set
    path: Path
    split: Split
    landmarks: Array | None = None  # [21, 2], NaN where unlabelled
    visibility: Array | None = None  # [21] 0–1, NaN where unlabelled
    box: Array | None = None  # [4] xyxy of the face
    pose: Array | None = None  # [3] roll, pitch, yaw in degrees
    embedding: Array | None = None  # [128] the identity teacher's descriptor
    age: float = float("nan")  # years
    age_sigma: float = float("nan")  # years, standard deviation of the people who guessed it
    female: float = float("nan")  # 1 female, 0 male
    smile: float = float("nan")  # 1 smiling, 0 not
    glasses: float = float("nan")  # 1 wears glasses of any kind, 0 none
    subject: str | None = None  # who it is
    group: str | None = None  # further label of the set, such as MTFL's pose class or UTKFace's race
    faces: int = 1  # faces found in the photo by the labelling detector; 0: none, a background


def shared_dir() -> Path:
    """Return the folder of tars and labels: FACE_SHARED_DIR, by default ../shared beside the repository."""
    default = Path(__file__).resolve().parents[2].parent / "shared"
    return Path(os.environ.get("FACE_SHARED_DIR", default))


def cache_dir() -> Path:
    """Return the folder of unpacked and decoded photos: FACE_CACHE_DIR, by default ~/.cache/allinone-face."""
    return Path(os.environ.get("FACE_CACHE_DIR", "~/.cache/allinone-face")).expanduser()


def data_dir(name: str) -> Path:
    """Return a set's folder, unpacked from its tar on first use. Raises FileNotFoundError naming a missing tar."""
    folder = cache_dir() / "data" / name
    if folder.is_dir():
        return folder
    tar = shared_dir() / "data" / f"{name}.tar"
    if not tar.is_file():
        raise FileNotFoundError(f"data set {name}: neither {folder} nor {tar} is there")
    partial = folder.with_name(f"{name}.partial")
    with tarfile.open(tar) as archive:
        archive.extractall(partial, filter="data")
    partial.rename(folder)
    return folder


def held_out(key: str, share: float) -> bool:
    """Return whether a training photo (or person) is in the validation part: a stable hash, so every run agrees."""
    value = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
    return value < share * 2**32


def with_machine_labels(samples: list[Sample], set_name: str) -> list[Sample]:
    """Add the machine labels of a set: mesh landmarks, visibility, pose, box and the identity teacher's descriptor.

    Human landmarks stay where a sample has them; the mesh fills only the points they lack. Without the label files
    (FACE_SHARED_DIR/data/labels) raises FileNotFoundError.
    """
    folder = shared_dir() / "data" / "labels"
    mesh = _by_name(folder / f"mesh_{set_name}.npz")
    teacher = _by_name(folder / f"dlib_{set_name}.npz")
    labelled = []
    for sample in samples:
        changes: dict[str, Any] = {}
        if (row := mesh.get(sample.name)) is not None:
            points = row["points"][:, :2].astype(np.float32)
            if np.isfinite(points).all():
                changes = _mesh_changes(sample, row, points)
        if (row := teacher.get(sample.name)) is not None:
            changes["embedding"] = row["descriptor"].astype(np.float32)
        labelled.append(replace(sample, **changes))
    return labelled


def _mesh_changes(sample: Sample, row: dict[str, Any], points: Array) -> dict[str, Any]:
    if sample.landmarks is not None:
        points = np.where(np.isnan(sample.landmarks), points, sample.landmarks)
    # `facing` is 127 × the cosine towards the camera; near 0 is the silhouette, where neither answer is right.
    facing = row["facing"].astype(np.float32) / 127
    return {
        "landmarks": points,
        "visibility": np.clip(facing / 0.3 + 0.5, 0, 1),
        "pose": row["pose"].astype(np.float32),
        "box": row["box"].astype(np.float32) if sample.box is None else sample.box,
        "faces": int(row["count"]),
    }


def _by_name(path: Path) -> dict[str, dict[str, Any]]:
    with np.load(path) as arrays:
        columns = {key: arrays[key] for key in arrays.files}
    names = columns.pop("name")
    return {str(name): {key: column[i] for key, column in columns.items()} for i, name in enumerate(names)}
