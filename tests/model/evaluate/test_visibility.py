"""The protocol on visibility: which landmarks are taken as hidden, which are judged, and how answers are counted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import landmarks
from model.datasets import Sample, covering
from model.evaluate import helen, visibility

SIDE = 160
PHOTO = np.full((SIDE, SIDE, 3), 180, np.uint8)
EYES = [7, 10]
MOUTH = [17, 18, 19]


def sample(labels: np.ndarray | None = None) -> Sample:
    points = (landmarks.CANONICAL * 100 + 30).astype(np.float32)
    seen = np.ones(21, np.float32) if labels is None else labels
    return Sample("helen", "a", Path("a"), "test", landmarks=points, visibility=seen)


def face(kind: str, labels: np.ndarray | None = None) -> visibility.CoveredFace:
    made = visibility.covered_face(sample(labels), PHOTO, covering.KINDS.index(kind))
    assert made is not None
    assert made.kind == kind
    return made


def test_what_the_drawing_hides_is_hidden_and_the_rest_as_it_was_labelled():
    masked = face("mask")
    assert masked.covered[MOUTH].all()
    assert masked.visible[EYES].all()
    assert not (masked.covered & masked.visible).any()
    assert (masked.photo != PHOTO).any()
    turned_away = np.ones(21, np.float32)
    turned_away[7] = 0
    labelled = face("mask", turned_away)
    assert (labelled.covered == masked.covered).all()  # a label does not change what is drawn
    assert not labelled.visible[7]
    assert not labelled.covered[7]
    assert labelled.judged[7]


def test_ears_points_outside_and_those_at_the_silhouette_are_not_judged():
    labels = np.ones(21, np.float32)
    labels[10] = 0.5
    assert not face("mask", labels).judged[[10, *landmarks.EARS]].any()
    assert face("sunglasses", labels).judged[10]  # under the glasses it is hidden, whatever its label
    outside = sample()
    points = np.asarray(outside.landmarks).copy()
    points[0] = -5, 20
    moved = visibility.covered_face(replace(outside, landmarks=points), PHOTO, 0)
    assert moved is not None
    assert not moved.judged[0]


def test_perfect_blind_and_absent_answers():
    faces = [face(kind) for kind in covering.KINDS]
    perfect = visibility.score([visibility.judge(f, f.visible.astype(np.float32)) for f in faces])
    assert (perfect["right"], perfect["covered_said_hidden"], perfect["seen_said_visible"]) == (100, 100, 100)
    blind = visibility.score([visibility.judge(f, np.ones(21, np.float32)) for f in faces])
    assert (blind["covered_said_hidden"], blind["seen_said_visible"]) == (0, 100)
    covered = sum(int((f.covered & f.judged).sum()) for f in faces)
    judged = sum(int(f.judged.sum()) for f in faces)
    assert blind["right"] == pytest.approx(100 * (1 - covered / judged))
    absent = visibility.score([visibility.judge(f, None) for f in faces])
    assert absent["faces_missed"] == 4
    assert np.isnan(absent["right"])


def test_each_kind_has_a_row_of_its_own():
    faces = [face(kind) for kind in ("mask", "hand")]
    [table] = visibility.score([visibility.judge(f, f.visible.astype(np.float32)) for f in faces]).tables
    assert [(row[0], row[1], row[5]) for row in table.rows] == [("mask", 100, 0), ("hand", 100, 0)]
    assert sum(int(row[4]) for row in table.rows) == sum(int(f.judged.sum()) for f in faces)
    assert int(table.rows[0][4]) <= helen.COUNTED.sum()
