"""Landmarks, visibility, pose and boxes that a network read off an archive's photos: ROOT/marks.npz.

The paper aligns the photos of sets without landmarks by HyperFace's (section III-C2, III-C5);
`python -m model.tools.label_landmarks` does the same with a checkpoint and writes this file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.datasets import Array, Sample

FILE = "marks.npz"
COLUMNS = {"landmarks": (21, 2), "visibility": (21,), "pose": (3,), "box": (4,)}


def write_machine_landmarks(root: Path, names: Sequence[str], columns: Mapping[str, Array], digest: str) -> Path:
    """Write the machine landmarks of N photos: each of COLUMNS [N, …] float32, and the digest of their network."""
    arrays = {key: np.asarray(columns[key], np.float32).reshape(len(names), *shape) for key, shape in COLUMNS.items()}
    partial = root / "marks.partial.npz"
    np.savez(partial, name=np.array(names, dtype=np.str_), digest=np.array(digest), **arrays)  # type: ignore[arg-type]
    partial.replace(root / FILE)
    return root / FILE


def read_machine_landmarks(root: Path) -> dict[str, dict[str, Any]]:
    """Return machine landmarks by the sample's name; none without the file. Raises ValueError for a bad file."""
    path = root / FILE
    if not path.is_file():
        return {}
    try:
        with np.load(path) as arrays:
            names = arrays["name"]
            columns = {key: arrays[key] for key in COLUMNS}
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} holds no machine landmarks") from error
    return {str(name): {key: column[i] for key, column in columns.items()} for i, name in enumerate(names)}


def with_machine_landmarks(samples: list[Sample], root: Path) -> list[Sample]:
    """Return the samples with what they lack of landmarks, visibility, pose and box; a set's own labels stay."""
    rows = read_machine_landmarks(root)
    return [_completed(s, rows[s.name]) if s.name in rows else s for s in samples] if rows else samples


def _completed(sample: Sample, row: dict[str, Any]) -> Sample:
    points = row["landmarks"]
    if sample.landmarks is not None:
        points = np.where(np.isnan(sample.landmarks), points, sample.landmarks)
    return replace(
        sample,
        landmarks=points,
        visibility=row["visibility"] if sample.visibility is None else sample.visibility,
        pose=row["pose"] if sample.pose is None else sample.pose,
        box=row["box"] if sample.box is None else sample.box,
    )
