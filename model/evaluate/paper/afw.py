"""AFW (Zhu and Ramanan 2012): detection, landmarks and yaw (section IV-A to IV-C, Fig. 6a, 7a, 7b).

Detection: average precision at IoU 0.5 over all 205 photos, as marked.py has it. Landmarks: the six points AFW marks
(eyes, nose tip, mouth corners and centre), those visible; the error of a face is their mean distance over √(w·h) of its
box, `faces_under_5_percent` the share of all marked faces with less than 5 %, the curve the same for other limits.
Yaw: labels are multiples of 15°; the prediction is rounded to the nearest such (halves away from zero), and
`yaw_within_15` is the share of all faces at most 15° off. Zhu and Ramanan judge yaw on faces higher than 150 px only:
`yaw_within_15_large`. Landmarks and yaw are means over proposals (regions.py); a face that no proposal overlaps has
none, counts among all faces and is never within a limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.datasets.photo import Photo
from model.datasets.readers import afw
from model.evaluate import marked, metrics, regions
from model.evaluate.result import Figure, Plot, Result, Table
from model.evaluate.run import Run

LIMITS = np.linspace(0, 0.15, 151)
STEP = 15.0
LARGE = 150.0
"""Height in pixels from which Zhu and Ramanan judge a face's yaw."""


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `afw`."""
    root = run.root("afw")
    photos = run.some(afw.read_photos(root))
    names = {photo.sample.name for photo in photos}
    faces = [s for s in afw.read(root) if s.name.rpartition("#")[0] in names]
    face_answers = regions.answers(run.analyzer, faces, "afw: faces")
    return score(marked.detect(run, photos, "afw: photos"), photos, face_answers, faces)


def score(
    detections: Sequence[marked.Found],
    photos: Sequence[Photo],
    answers: Sequence[regions.Answer | None],
    faces: Sequence[Sample],
) -> Result:
    """Return the protocol's result for the boxes detected in the photos and the answers about the marked faces."""
    figures, curve = marked.score(detections, photos, "AFW")
    errors = landmark_errors(answers, faces)
    errors = errors[~np.isnan(errors)]
    off = yaw_errors(answers, faces)
    large = np.array([s.box is not None and s.box[3] - s.box[1] > LARGE for s in faces], bool)
    shares = metrics.cumulative(errors[np.isfinite(errors)], LIMITS, len(errors))
    figures += [
        Figure("faces_under_5_percent", 100 * float((errors < 0.05).mean())),
        Figure("yaw_within_15", 100 * float((off <= STEP).mean())),
        Figure("yaw_within_15_large", 100 * float((off[large] <= STEP).mean()) if large.any() else np.nan),
        Figure("faces_without_proposal", sum(a is None for a in answers), "faces"),
    ]
    rows = [(f"≤ {limit:g}°", 100 * float((off <= limit).mean())) for limit in (0, 15, 30, 45, 60, 75, 90)]
    landmarks = Plot("cumulative", "NME %", "share of faces", {"six points": (100 * LIMITS, shares)})
    return Result("afw", len(photos), tuple(figures), (Table("Yaw", ("error", "faces %"), rows),), (curve, landmarks))


def landmark_errors(answers: Sequence[regions.Answer | None], faces: Sequence[Sample]) -> metrics.Floats:
    """Return each face's error [N] over √(w·h) of its box; inf for a face without answer, NaN without a point."""
    errors = np.full(len(faces), np.inf)
    for i, (answer, face) in enumerate(zip(answers, faces, strict=True)):
        if face.landmarks is None or face.box is None or not np.isfinite(face.landmarks).any():
            errors[i] = np.nan
        elif answer is not None:
            shown = np.isfinite(face.landmarks).all(axis=1)
            points = answer.landmarks[None, shown]
            truth = face.landmarks[None, shown]
            errors[i] = metrics.normalised_mean_error(points, truth, np.ones(shown.sum(), bool), face.box[None])[0]
    return errors


def yaw_errors(answers: Sequence[regions.Answer | None], faces: Sequence[Sample]) -> metrics.Floats:
    """Return the degrees [N] between label and prediction rounded to 15°; inf for a face without answer."""
    errors = np.full(len(faces), np.inf)
    for i, (answer, face) in enumerate(zip(answers, faces, strict=True)):
        if answer is not None and face.pose is not None:
            errors[i] = abs(rounded(float(answer.pose[2])) - float(face.pose[2]))
    return errors


def rounded(yaw: float) -> float:
    """Return the nearest multiple of 15°, halves away from zero."""
    return float(np.sign(yaw) * STEP * np.floor(abs(yaw) / STEP + 0.5))
