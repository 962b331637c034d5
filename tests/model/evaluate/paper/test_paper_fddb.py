"""FDDB: areas of ellipses against pixels, its curves by hand, its matching against every assignment."""

import itertools
import math

import cv2
import numpy as np
import pytest

from model.datasets.photo import Photo, ellipse_boxes
from model.evaluate import ellipses
from model.evaluate.paper import fddb
from tests.model.evaluate.paper.samples import sample


def raster_iou(first, second, scale=64):
    """Share of common pixels of two polygons, drawn large: the slow way."""
    low = np.minimum(first.min(axis=0), second.min(axis=0)) - 1
    high = np.maximum(first.max(axis=0), second.max(axis=0)) + 1
    width, height = np.ceil((high - low) * scale).astype(int)
    masks = []
    for polygon in (first, second):
        mask = np.zeros((height, width), np.uint8)
        cv2.fillPoly(mask, [np.round((polygon - low) * scale).astype(np.int32)], 1)
        masks.append(mask.astype(bool))
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


class TestEllipses:
    def test_areas(self):
        assert ellipses.area(ellipses.ellipse_polygon(np.array([30, 20, 0.3, 5, 6]))) == pytest.approx(
            math.pi * 600, rel=5e-4
        )
        assert ellipses.area(ellipses.box_polygon(np.array([1, 2, 11, 22]))) == 200
        assert ellipses.area(np.zeros((2, 2))) == 0

    def test_by_hand(self):
        circle = ellipses.ellipse_polygon(np.array([10, 10, 0.0, 0, 0]))
        assert ellipses.polygon_iou(circle, circle) == pytest.approx(1)
        square = ellipses.box_polygon(np.array([-10, -10, 10, 10]))
        assert ellipses.polygon_iou(circle, square) == pytest.approx(math.pi / 4, abs=1e-3)
        assert ellipses.polygon_iou(square, circle) == pytest.approx(math.pi / 4, abs=1e-3)
        half = ellipses.box_polygon(np.array([0, -20, 20, 20]))  # cuts the circle in two
        expected = math.pi * 50 / (800 + math.pi * 50)
        assert ellipses.polygon_iou(circle, half) == pytest.approx(expected, abs=1e-3)
        assert ellipses.polygon_iou(circle, circle + 20) == 0
        lens = 2 * 100 * math.acos(0.5) - 5 * math.sqrt(300)  # two circles, centres 10 apart
        assert ellipses.polygon_iou(circle, circle + np.array([10, 0])) == pytest.approx(
            lens / (200 * math.pi - lens), abs=1e-3
        )

    def test_against_pixels(self):
        rng = np.random.default_rng(1)
        for _ in range(8):
            first = ellipses.ellipse_polygon(
                np.array([*rng.uniform(4, 9, 2), rng.uniform(-3, 3), *rng.uniform(0, 8, 2)])
            )
            corner = rng.uniform(-6, 4, 2)
            second = (
                ellipses.box_polygon(np.append(corner, corner + rng.uniform(5, 14, 2)))
                if rng.random() < 0.5
                else ellipses.ellipse_polygon(
                    np.array([*rng.uniform(4, 9, 2), rng.uniform(-3, 3), *rng.uniform(0, 8, 2)])
                )
            )
            assert ellipses.polygon_iou(first, second) == pytest.approx(raster_iou(first, second), abs=6e-3)


def fddb_photo(*faces, fold=1):
    shapes = np.array(faces, np.float64).reshape(-1, 5)
    return Photo(sample(), ellipse_boxes(shapes), np.zeros(len(shapes), bool), shapes, fold)


def detections(boxes, scores):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    return fddb.Detections(boxes, np.array(scores, np.float64), np.zeros(len(boxes)))


class TestFddb:
    CIRCLE = (10.0, 10.0, 0.0, 50.0, 50.0)

    def by_box(self, one):
        return lambda i, k: ellipses.box_polygon(one[i].boxes[k])

    def test_by_hand(self):
        """Two faces; a square on the first (IoU π/4), one beside, one half over the second."""
        photos = [fddb_photo(self.CIRCLE), fddb_photo(self.CIRCLE)]
        one = [detections([[40, 40, 60, 60], [0, 0, 20, 20]], [0.9, 0.8]), detections([[40, 40, 60, 50]], [0.7])]
        curve = fddb.roc(one, photos, self.by_box(one))
        half = (math.pi * 50) / (200 + math.pi * 50)  # 0.44: no face for the discrete score
        assert curve.false_positives.tolist() == [0, 0, 1, 2]
        assert curve.discrete.tolist() == [0, 0.5, 0.5, 0.5]
        assert curve.continuous == pytest.approx([0, math.pi / 8, math.pi / 8, math.pi / 8 + half / 2], abs=1e-3)
        assert curve.at(0) == pytest.approx((0.5, math.pi / 8), abs=1e-3)
        assert curve.at(1) == pytest.approx((0.5, math.pi / 8), abs=1e-3)

    def test_assignment_is_the_best_one_not_the_greedy_one(self):
        """The first detection fits both faces, the second only the one that the first fits better."""
        overlaps = np.array([[0.8, 0.7], [0.75, 0.0]])
        steps = fddb.curve_steps(np.array([0.9, 0.9]), overlaps)
        assert steps == [(0.9, 0, 2.0, pytest.approx(1.45))]

    def test_a_later_detection_can_move_an_earlier_one(self):
        overlaps = np.array([[0.8, 0.7], [0.75, 0.0]])
        first, second = fddb.curve_steps(np.array([0.9, 0.5]), overlaps)
        assert first == (0.9, 0, 1.0, pytest.approx(0.8))
        assert second == (0.5, 0, 1.0, pytest.approx(0.65))

    def test_against_a_slow_oracle(self):
        """Every threshold, every one-to-one assignment."""
        rng = np.random.default_rng(2)
        for _ in range(10):
            overlaps = np.where(rng.random((4, 3)) < 0.5, rng.random((4, 3)), 0)
            scores = rng.permutation(4) / 4
            total = np.zeros(3)
            for threshold, *added in fddb.curve_steps(scores, overlaps):
                total += added
                taken = overlaps[scores >= threshold]
                best = (-1.0, 0)
                padded = np.hstack([taken, np.zeros((len(taken), len(taken)))])
                for columns in itertools.permutations(range(padded.shape[1]), len(taken)):
                    values = padded[range(len(taken)), list(columns)]
                    best = max(best, (values.sum(), int((values > 0.5).sum())))
                assert total[2] == pytest.approx(best[0])

    def test_perfect(self):
        """Squares whose fitted ellipses are the faces: both scores 1 without a false positive."""
        rng = np.random.default_rng(0)
        photos, one = [], []
        for fold in (1, 2, 3):
            for _ in range(3):
                x, y, side = *rng.uniform(50, 100, 2), rng.uniform(20, 60)
                photos.append(fddb_photo((0.6 * side, 0.45 * side, math.pi / 2, x, y - 0.1 * side), fold=fold))
                one.append(detections([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]], [0.9]))
        result = fddb.score(one, photos)
        assert result["discrete_at_100"] == 100
        assert result["continuous_at_100"] == pytest.approx(100, abs=0.1)
        assert result["box_discrete_at_100"] == 100
        assert 60 < result["box_continuous_at_100"] < 80

    def test_the_map_of_a_fold_is_learnt_on_the_others(self):
        photos = [fddb_photo((60, 45, 1.57, 100, 90), fold=1), fddb_photo((50, 40, 1.57, 100, 100), fold=2)]
        one = [detections([[50, 50, 150, 150]], [0.9])] * 2
        assert fddb.fit(one, photos, 2) == pytest.approx([0.6, 0.45, 0, -0.1])
        assert fddb.fit(one, photos, 1) == pytest.approx([0.5, 0.4, 0, 0])
        assert fddb.fit(one[:1], photos[:1], 1) is fddb.PLAIN

    def test_roll_turns_the_ellipse(self):
        turned = fddb.Detections(np.array([[0.0, 0, 10, 10]]), np.array([0.9]), np.array([90.0]))
        assert fddb.ellipses(turned, fddb.PLAIN)[0] == pytest.approx([6, 4.5, math.pi, 5, 5])

    def test_empty_and_random(self):
        photos = [fddb_photo(self.CIRCLE, fold=f) for f in (1, 2)]
        assert fddb.score([detections([], [])] * 2, photos)["discrete_at_2000"] == 0
        rng = np.random.default_rng(0)
        one = [detections([np.append(c := rng.uniform(0, 500, 2), c + 20)], [rng.random()]) for _ in range(300)]
        result = fddb.score(one, photos * 150)
        assert result["discrete_at_2000"] < 1
        with pytest.raises(ValueError, match="at least one marked face"):
            fddb.score([detections([], [])], [fddb_photo()])
