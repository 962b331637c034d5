"""Synthetic profiles, test part: faces found, landmarks and yaw.

150 photos of people that no training has seen, their heads turned to |yaw| 60–90° by `python -m model.synthesis`: the
landmarks, visibility and pose are those of the turned mesh. A face is found when a detection at the default settings
overlaps its box (geometry.box_from_landmarks of all 21 points, hidden ones too) with IoU ≥ 0.4, less than elsewhere
because a profile's box is half guessed. NME is the mean error of the visible points over √(w·h) of that box, yaw's the
mean absolute error, both over the faces found. Synthetic photos are easier than real ones in what the synthesis does
not vary: never quote these figures as figures on real profiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.datasets.readers import profiles
from model.evaluate import metrics
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import Analyzed, Run, reference_box

OVERLAP = 0.4
BINS = (60, 75, 91)


def test_samples(run: Run) -> list[Sample]:
    """Return the test samples, from `data`/profiles when the run has such a folder, else from the cache."""
    root = None if run.data is None else run.data / profiles.SOURCE
    return [s for s in profiles.read(root) if s.split == "test"]


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError when the profiles have not been made."""
    return score(run.analyze(run.some(test_samples(run)), "profiles"))


def score(photos: Sequence[Analyzed]) -> Result:
    """Return the protocol's result for analyzed photos."""
    faces = [_found(photo) for photo in photos]
    yaws = np.array([np.asarray(photo.sample.pose)[2] for photo in photos])
    errors = np.full(len(photos), np.nan)
    turned = np.full(len(photos), np.nan)
    for i, (photo, face) in enumerate(zip(photos, faces, strict=True)):
        box = reference_box(photo.sample)
        if face is None or box is None:
            continue
        is_visible = np.asarray(photo.sample.visibility) > 0.5
        points = np.asarray(photo.sample.landmarks)[None]
        errors[i] = metrics.normalised_mean_error(photo.faces.landmarks[face][None], points, is_visible, box)[0]
        turned[i] = abs(metrics.angle_difference(photo.faces.pose[face][2], yaws[i]))
    detected: metrics.Flags = np.array([face is not None for face in faces], dtype=bool)
    figures = (
        Figure("found", 100 * float(detected.mean())),
        Figure("faces_missed", int((~detected).sum()), "faces"),
        Figure("nme_visible", 100 * _mean(errors[detected])),
        Figure("yaw_mae", _mean(turned[detected]), "°"),
    )
    rows: list[Row] = []
    for side, sign in (("left", -1), ("right", 1)):
        for low, high in itertools.pairwise(BINS):
            part = (yaws * sign >= low) & (yaws * sign < high)
            good = part & detected
            share = 100 * float(detected[part].mean()) if part.any() else np.nan
            name = f"nose to the {side}, {low}–{min(high, 90)}°"
            rows.append((name, int(part.sum()), share, 100 * _mean(errors[good]), _mean(turned[good])))
    table = Table("By yaw", ("yaw", "faces", "found %", "NME %", "yaw MAE °"), rows)
    return Result("profiles", len(photos), figures, (table,))


def _found(photo: Analyzed) -> int | None:
    """Return the index of the detection that overlaps the marked face most, None when none reaches OVERLAP."""
    box = reference_box(photo.sample)
    if box is None or not len(photo.faces):
        return None
    overlap = metrics.iou(photo.faces.boxes, box)[:, 0]
    best = int(overlap.argmax())
    return best if overlap[best] >= OVERLAP else None


def _mean(values: metrics.Floats) -> float:
    return float(values.mean()) if len(values) else np.nan
