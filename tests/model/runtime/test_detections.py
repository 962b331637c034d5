"""Several detections of one face become one; what is known without the network."""

import numpy as np
import pytest

from model import boxes, landmarks
from model.runtime.detections import (
    Detections,
    best_of_each_face,
    covered,
    hide_outside,
    inside_better,
    merge_faces,
)


def detections(centres: list[tuple[float, float]], scores: list[float], spread: list[float]) -> Detections:
    """Canonical faces of 100 px at centres; `spread` is added to the pose and divides the visibility."""
    points = (landmarks.CANONICAL[None] * 100 + np.array(centres)[:, None]).astype(np.float32)
    odd = np.array(spread, np.float32)[:, None]
    regions = boxes.from_landmarks(points)
    return Detections(
        np.zeros(len(scores), np.int64),
        regions,
        np.array(scores, np.float32),
        points,
        np.ones((len(scores), 21), np.float32) / (1 + odd),
        np.repeat(odd, 3, axis=1),
        regions,
        np.zeros(len(scores), np.float32),
    )


def test_medians_by_hand():
    mine = detections(
        [(0, 0), (4, 0), (8, 6), (300, 0), (302, 0), (6, 0), (5, 1), (-30, 0)],
        [0.9, 0.8, 0.7, 0.95, 0.6, 0.65, 0.66, 0.5],
        [1, 3, 7, 10, 20, 4, 5, 500],
    )
    faces = merge_faces(mine)
    assert faces.scores.tolist() == pytest.approx([0.95, 0.9])
    canonical = landmarks.CANONICAL * 100
    # Face at 300: two members, the mean of both. Face at 0: its best five, the sixth is left out.
    np.testing.assert_allclose(faces.landmarks[0], canonical + np.array([301, 0]), atol=1e-3)
    np.testing.assert_allclose(faces.landmarks[1], canonical + np.array([5, 0]), atol=1e-3)
    assert faces.pose[:, 0].tolist() == [15, 4]
    assert faces.visibility[1, 0] == pytest.approx(1 / 5)
    np.testing.assert_allclose(faces.boxes, boxes.from_landmarks(faces.landmarks))
    assert len(merge_faces(mine.of(1))) == 0


def test_without_medians_each_face_is_its_best_detection():
    mine = detections([(0, 0), (4, 0), (300, 0)], [0.8, 0.9, 0.7], [1, 2, 3])
    assert merge_faces(mine, medians=False).pose[:, 0].tolist() == [2, 3]


@pytest.mark.parametrize(("count", "scores"), [(1, [0.9, 0.7]), (2, [0.9, 0.7, 0.8]), (9, [0.9, 0.7, 0.8, 0.6])])
def test_the_best_of_each_face(count: int, scores: list[float]):
    mine = detections([(0, 0), (4, 0), (300, 0), (2, 0)], [0.8, 0.9, 0.7, 0.6], [0, 0, 0, 0])
    assert best_of_each_face(mine, count).scores.tolist() == pytest.approx(scores)


def test_a_face_has_settled_where_it_was_looked_for():
    mine = detections([(0, 0)] * 4, [0.9] * 4, [0] * 4)
    side = boxes.sides(mine.regions)[0, 0]
    mine.regions[1] += 0.12 * side
    mine.regions[2, 2:] += 0.45 * side
    mine.turns[3] = 13.0
    assert mine.settled().tolist() == [True, False, False, False]


def test_a_turn_of_a_whole_circle_is_none():
    mine = detections([(0, 0)], [0.9], [179.0])
    mine.turns[0] = -179.0
    regions, turns = mine.next_regions()
    np.testing.assert_allclose(turns, [179.0])
    mine.regions[:] = regions
    assert mine.settled().tolist() == [True]


def test_what_lies_outside_the_photo_is_not_visible():
    mine = detections([(0, 0), (-50, 0)], [0.9, 0.8], [0, 0])
    photo = np.zeros((80, 200, 3), np.uint8)
    hidden = hide_outside(mine.visibility, mine.landmarks, mine.image_index, [photo])
    for points, visibility in zip(mine.landmarks, hidden, strict=True):
        inside = (points[:, 0] >= 0) & (points[:, 1] <= 80)
        np.testing.assert_array_equal(visibility, inside.astype(np.float32))
    assert (hidden == 0).sum() > 5


def test_boxes_inside_better_ones_and_inside_faces():
    large, inside, beside, around = (0, 0, 10, 10), (1, 1, 5, 5), (8, 8, 14, 14), (-5, -5, 20, 20)
    found = np.array([large, inside, beside, around], np.float32)
    assert inside_better(found).tolist() == [False, True, False, False]
    assert inside_better(found[::-1]).tolist() == [False, True, True, True]
    assert covered(found, found[:1]).tolist() == [True, True, False, False]
    assert covered(found, found[:0]).tolist() == [False] * 4
    assert inside_better(found[:0]).tolist() == []
