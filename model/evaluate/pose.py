"""Head pose against machine labels, and against MTFL's pose classes.

Mean absolute error of yaw, pitch and roll in degrees against the mesh labels of photos that nobody trained on: CelebA,
UTKFace and HELEN, test parts. The labels are another model's opinion, made with its own idea of zero pitch: agreement,
not truth. Judged is the detection that overlaps the labelled face most (IoU ≥ 0.5); a missed face has no error and is
counted in `faces_missed`. `yaw_within_15` is the share of all faces whose yaw is at most 15° off; a missed face is not.

MTFL's validation part has human pose classes 1 (nose to the image's left) … 3 (frontal) … 5: mean yaw by class, which
must rise, and the share of faces in classes 1, 2, 4, 5 whose yaw has the right sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets.readers import mtfl
from model.evaluate import celeba, helen, metrics, utkface
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import Analyzed, Run

AXES = ("roll", "pitch", "yaw")
YAW_BINS = (0, 15, 30, 45, 180)
SIDES = {"1": -1, "2": -1, "4": 1, "5": 1}


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without one of the four sets or their machine labels."""
    photos = [
        *run.analyze(run.some(celeba.test_samples(run)), "pose: celeba"),
        *run.analyze(run.some(utkface.test_samples(run)), "pose: utkface"),
        *run.analyze(run.some(helen.test_samples(run)), "pose: helen"),
    ]
    held_out = [s for s in mtfl.read(run.root("mtfl_net")) if s.split == "val"]
    return score(photos, run.analyze(run.some(held_out), "pose: mtfl"))


def score(photos: Sequence[Analyzed], classed: Sequence[Analyzed]) -> Result:
    """Return the protocol's result for photos with labelled pose and for photos with a pose class (sample.group)."""
    labelled = [p for p in photos if p.sample.pose is not None and np.isfinite(p.sample.pose).all()]
    faces = [p.marked_face() for p in labelled]
    truth = np.array([p.sample.pose for p in labelled]).reshape(-1, 3)
    pose = np.array(
        [np.full(3, np.nan) if f is None else p.faces.pose[f] for p, f in zip(labelled, faces, strict=True)]
    ).reshape(-1, 3)
    error = np.abs(metrics.angle_difference(pose, truth))
    detected: metrics.Flags = np.asarray(np.isfinite(error).all(axis=1))
    sources = [p.sample.source for p in labelled]
    means = error[detected].mean(axis=0).tolist() if detected.any() else [np.nan] * 3
    within = 100 * float((error[:, 2] <= 15).mean()) if len(error) else np.nan
    figures = [
        *(Figure(f"{axis}_mae", value, "°") for axis, value in zip(AXES, means, strict=True)),
        Figure("yaw_within_15", within),
        Figure("faces_missed", int((~detected).sum()), "faces"),
    ]
    tables = [
        _errors("By set", "set", sources, error, detected),
        _errors("By yaw", "|yaw|", [_yaw_bin(y) for y in truth[:, 2]], error, detected),
    ]
    class_figures, class_table = _classes(classed)
    return Result("pose", len(labelled) + len(classed), (*figures, *class_figures), (*tables, class_table))


def _yaw_bin(yaw: float) -> str:
    low = max(b for b in YAW_BINS if b <= abs(yaw))
    high = min(b for b in YAW_BINS if b > low)
    return f"{low:02d}–{high}°" if high < YAW_BINS[-1] else f"{low}° +"


def _errors(title: str, key: str, groups: list[str], error: metrics.Floats, detected: metrics.Flags) -> Table:
    groups_detected = [g for g, f in zip(groups, detected, strict=True) if f]
    means = [metrics.by_group(error[detected, i], groups_detected) for i in range(3)]
    rows: list[Row] = [(n, means[0][n][0], *(m[n][1] for m in means)) for n in means[0]]
    return Table(title, (key, "faces", *(f"{a} MAE °" for a in AXES)), rows)


def _classes(photos: Sequence[Analyzed]) -> tuple[list[Figure], Table]:
    yaws: dict[str, list[float]] = {name: [] for name in "12345"}
    missed = 0
    for photo in photos:
        face = photo.main_face()
        if face is None:
            missed += 1
        else:
            yaws[str(photo.sample.group)].append(float(photo.faces.pose[face, 2]))
    rows = [(n, len(y), float(np.mean(y)) if y else np.nan, float(np.std(y)) if y else np.nan) for n, y in yaws.items()]
    sides = [np.sign(y) == side for name, side in SIDES.items() for y in yaws[name]]
    figures = [
        Figure("mtfl_side_right", 100 * float(np.mean(sides)) if sides else np.nan),
        *(Figure(f"mtfl_yaw_class_{name}", mean, "°") for name, _, mean, _ in rows),
        Figure("mtfl_faces_missed", missed, "faces"),
    ]
    return figures, Table("MTFL pose classes", ("class", "faces", "mean yaw °", "std °"), rows)
