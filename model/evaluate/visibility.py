"""Visibility on covered photos: whether landmarks are told to be seen or hidden, and rightly.

HELEN's 330 test photos, each with one covering of `model.datasets.covering` drawn over its face: mask, sunglasses,
hand and object in turn, drawn from the photo's number. Training draws the same kinds over other photos, so this says
what was learnt of drawn coverings, not of real ones. True is hidden (0) for a landmark under the covering; for the
others it is the face mesh's label, and those whose label lies between UNSURE are not judged: they are at the face's
silhouette. A landmark is said to be visible from a visibility of 0.5 on. The ears, which the markup lacks, are not
judged: 19 points. Only faces that are found are judged (IoU ≥ 0.5 with the marked box); the others are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.datasets import Array, Sample, covering
from model.datasets.store import read_photo
from model.evaluate import helen, metrics
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import BATCH, FOUND_IOU, Run, reference_box
from model.geometry import Image

VISIBLE = 0.5
"""From this visibility on a landmark counts as visible."""
UNSURE = (0.25, 0.75)
"""Labels between these are not judged."""
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class CoveredFace:
    """A covered photo uint8 [H, W, 3], what lies on its face, and flags [21]: landmarks covered, visible, judged."""

    photo: Image
    kind: str
    covered: Flags
    visible: Flags
    judged: Flags


@dataclass(frozen=True, eq=False)
class Judgement:
    """Of one face: what lies on it, and of each judged landmark whether it is covered, visible, and predicted visible.

    The three arrays have one entry a judged landmark; they are empty for a face that was not found.
    """

    kind: str
    found: bool
    covered: Flags
    visible: Flags
    predicted: Flags


def covered_face(sample: Sample, photo: Image, number: int) -> CoveredFace | None:
    """Cover the face of a photo as its number says; None when no covering leaves enough of it in sight."""
    kind = covering.KINDS[number % len(covering.KINDS)]
    points = np.asarray(sample.landmarks, np.float32)
    labels = np.ones(len(points), np.float32) if sample.visibility is None else np.asarray(sample.visibility)
    before = np.nan_to_num(labels, nan=1.0).astype(np.float32)
    # Whatever is hidden anyway must change too, to tell what is covered: so visibility goes in as one everywhere.
    drawn, after = covering.cover(photo, points, np.ones_like(before), np.random.default_rng(number), kind)
    covered = after < VISIBLE
    if not covered.any():
        return None
    sure = (before <= UNSURE[0]) | (before >= UNSURE[1])
    height, width = photo.shape[:2]
    inside = ((points >= 0) & (points < (width, height))).all(axis=1)
    judged = helen.COUNTED & inside & (covered | sure)
    return CoveredFace(drawn, kind, covered, ~covered & (before >= VISIBLE), judged)


def judge(face: CoveredFace, answer: Array | None) -> Judgement:
    """Compare the visibility [21] that was answered for a covered face with the truth; None: it was not found."""
    if answer is None:
        none = np.zeros(0, np.bool_)
        return Judgement(face.kind, False, none, none, none)
    return Judgement(
        face.kind,
        True,
        face.covered[face.judged],
        face.visible[face.judged],
        np.asarray(answer)[face.judged] >= VISIBLE,
    )


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `helen`."""
    samples = run.some(helen.test_samples(run))
    judgements: list[Judgement] = []
    for start in tqdm(range(0, len(samples), BATCH), "visibility", disable=None, leave=False):
        group = samples[start : start + BATCH]
        drawn = [(s, covered_face(s, read_photo(s.path), start + i)) for i, s in enumerate(group)]
        faces = [(s, face) for s, face in drawn if face is not None]
        for (sample, face), faces_found in zip(
            faces, run.analyzer.analyze([face.photo for _, face in faces]), strict=True
        ):
            box = reference_box(sample)
            overlaps = (
                metrics.iou(faces_found.boxes, box)[:, 0] if box is not None and len(faces_found) else np.zeros(1)
            )
            best = int(overlaps.argmax())
            judgements.append(judge(face, faces_found.visibility[best] if overlaps[best] >= FOUND_IOU else None))
    return score(judgements)


def score(judgements: Sequence[Judgement]) -> Result:
    """Return the shares of landmarks whose visibility is right: of all, of covered and of seen ones, and by kind."""
    kinds = [kind for kind in covering.KINDS if any(j.kind == kind for j in judgements)]
    rows: list[Row] = [(kind, *_shares([j for j in judgements if j.kind == kind])) for kind in kinds]
    right, hidden, seen, _, missed = _shares(judgements)
    figures = (
        Figure("right", right),
        Figure("covered_said_hidden", hidden),
        Figure("seen_said_visible", seen),
        Figure("faces_missed", missed, "faces"),
    )
    columns = ("covering", "right %", "covered, said hidden %", "seen, said visible %", "landmarks", "faces missed")
    return Result("visibility", len(judgements), figures, (Table("By covering", columns, rows),))


def _shares(judgements: Sequence[Judgement]) -> tuple[float, float, float, int, int]:
    """Return the shares in per cent: right, covered said hidden, seen said visible; landmarks judged; faces missed."""
    missed = sum(not j.found for j in judgements)
    covered, visible, predicted = (
        np.concatenate([np.zeros(0, np.bool_), *(getattr(j, name) for j in judgements)])
        for name in ("covered", "visible", "predicted")
    )
    return (
        _percent(predicted == visible),
        _percent(~predicted[covered]),
        _percent(predicted[visible]),
        len(predicted),
        missed,
    )


def _percent(flags: Flags) -> float:
    return 100 * float(flags.mean()) if flags.size else float("nan")
