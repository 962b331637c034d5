"""The paper's protocols: by hand, against slow oracles, and with perfect, random and empty predictions."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model import geometry, landmarks, tpe
from model.datasets import Sample
from model.datasets.ijba import Identification, TemplateFaces, Verification
from model.datasets.photo import Photo, ellipse_boxes
from model.evaluate import (
    aflw,
    afw,
    attributes,
    celeba_attributes,
    ellipses,
    fddb,
    fgnet,
    fotw,
    ijba,
    lap,
    marked,
    metrics,
    pascal,
    regions,
    templates_at,
)
from model.evaluate.run import Analysed
from model.structures import Faces

BOX = np.float32([10, 10, 50, 50])
UNIT = np.eye(1, 512)[0]


def sample(name="a.jpg", **labels):
    return Sample("drawn", name, Path(name.partition("#")[0]), "test", **labels)


def answer(points=None, yaw=0.0, female=0.0, smile=0.0, proposals=3):
    points = landmarks.CANONICAL * 40 + 10 if points is None else points
    return regions.Answer(proposals, points, np.array([0.0, 0.0, yaw]), smile, female, 30.0, UNIT)


# --- AFW, PASCAL faces: average precision ---


def photo(boxes, difficult=(), name="a.jpg"):
    boxes = np.float32(boxes).reshape(-1, 4)
    flags = np.zeros(len(boxes), bool)
    flags[list(difficult)] = True
    return Photo(sample(name), boxes, flags)


def found(boxes, scores):
    return np.float32(boxes).reshape(-1, 4), np.float32(scores)


class TestAveragePrecision:
    def test_verdicts_by_hand(self):
        truth = photo([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], difficult=[2])
        boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 5], [21, 0, 30, 5], [40, 0, 50, 10], [60, 0, 70, 10]]
        verdicts = marked.match(found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), truth)
        # right, second on the same face, right at exactly 0.5, too little, difficult, beside all
        assert verdicts.tolist() == [1, 0, 1, 0, metrics.IGNORED, 0]

    def test_the_better_score_takes_the_face(self):
        verdicts = marked.match(found([[0, 0, 10, 9], [0, 0, 10, 10]], [0.9, 0.5]), photo([[0, 0, 10, 10]]))
        assert verdicts.tolist() == [1, 0]

    def test_figure_by_hand(self):
        """Ranked right, wrong, right over 3 faces: AP = 1/3 · 1 + 1/3 · 2/3."""
        photos = [photo([[0, 0, 10, 10]]), photo([[0, 0, 10, 10], [20, 0, 30, 10]])]
        detections = [found([[0, 0, 10, 10], [50, 0, 60, 10]], [0.9, 0.8]), found([[0, 0, 10, 10]], [0.7])]
        result = pascal.score(detections, photos)
        assert result["ap"] == pytest.approx(100 * (1 / 3 + 2 / 9))
        assert result["recall"] == pytest.approx(200 / 3)
        assert (result["marked_faces"], result.photos) == (3, 2)

    def test_against_a_slow_oracle(self):
        rng = np.random.default_rng(4)
        for _ in range(20):
            photos, detections = [], []
            for _ in range(4):
                corners = rng.integers(0, 60, (rng.integers(1, 4), 2))
                boxes = np.hstack([corners, corners + rng.integers(8, 20, corners.shape)])
                photos.append(photo(boxes, difficult=[0] if rng.random() < 0.3 and len(boxes) > 1 else []))
                guesses = np.vstack(
                    [boxes + rng.integers(-3, 4, boxes.shape), rng.integers(0, 60, (2, 4)) + np.array([0, 0, 9, 9])]
                )
                detections.append(found(guesses, rng.permutation(20)[: len(guesses)] / 20 + rng.random() / 100))
            assert pascal.score(detections, photos)["ap"] == pytest.approx(
                100 * oracle_ap(detections, photos), abs=1e-9
            )

    @pytest.mark.parametrize("score", [pascal.score, lambda f, p: afw.score(f, p, [None], [face()])])
    def test_perfect_and_empty(self, score):
        photos = [photo([BOX]), photo([BOX, BOX + 60])]
        perfect = score([found(p.boxes, np.full(len(p.boxes), 0.9)) for p in photos], photos)
        assert (perfect["ap"], perfect["recall"]) == (100, 100)
        empty = score([found([], [])] * 2, photos)
        assert (empty["ap"], empty["recall"]) == (0, 0)

    def test_random(self):
        rng = np.random.default_rng(0)
        photos = [photo([np.append(c := rng.uniform(0, 200, 2), c + 20)]) for _ in range(200)]
        detections = [found([np.append(c := rng.uniform(0, 200, 2), c + 20)], [rng.random()]) for _ in range(200)]
        assert pascal.score(detections, photos)["ap"] < 2

    def test_no_face_counts(self):
        with pytest.raises(ValueError, match="at least one marked face"):
            pascal.score([found([], [])], [photo([BOX], difficult=[0])])


def oracle_ap(detections, photos):
    """One number at a time: rank, walk, take the envelope."""
    ranked = sorted(
        ((float(s), i, k) for i, (_, scores) in enumerate(detections) for k, s in enumerate(scores)), reverse=True
    )
    taken, right, wrong, curve = set(), 0, 0, []
    total = sum(int(not d) for p in photos for d in p.difficult)
    for _, i, k in ranked:
        overlaps = [one_iou(detections[i][0][k], box) for box in photos[i].boxes]
        best = max(range(len(overlaps)), key=lambda j: overlaps[j])
        if overlaps[best] >= 0.5 and photos[i].difficult[best]:
            continue
        if overlaps[best] >= 0.5 and (i, best) not in taken:
            taken.add((i, best))
            right += 1
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    area, before = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[index:])
        before = recall
    return area


def one_iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    return inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


# --- FDDB ---


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
        steps = fddb._steps(np.array([0.9, 0.9]), overlaps)
        assert steps == [(0.9, 0, 2.0, pytest.approx(1.45))]

    def test_a_later_detection_can_move_an_earlier_one(self):
        overlaps = np.array([[0.8, 0.7], [0.75, 0.0]])
        first, second = fddb._steps(np.array([0.9, 0.5]), overlaps)
        assert first == (0.9, 0, 1.0, pytest.approx(0.8))
        assert second == (0.5, 0, 1.0, pytest.approx(0.65))

    def test_against_a_slow_oracle(self):
        """Every threshold, every one-to-one assignment."""
        rng = np.random.default_rng(2)
        for _ in range(10):
            overlaps = np.where(rng.random((4, 3)) < 0.5, rng.random((4, 3)), 0)
            scores = rng.permutation(4) / 4
            total = np.zeros(3)
            for threshold, *added in fddb._steps(scores, overlaps):
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


# --- AFW and AFLW: landmarks and yaw ---


def face(points=None, yaw=0.0, side=40.0, hidden=()):
    points = np.float32(landmarks.CANONICAL * 40 + 10) if points is None else points.copy()
    points[list(hidden)] = np.nan
    return sample(landmarks=points, box=np.float32([10, 10, 10 + side, 10 + side]), pose=np.float32([0, 0, yaw]))


class TestLandmarks:
    def test_error_by_hand(self):
        """Off by (3, 4) at every visible point, on a box of 40 × 40."""
        truth = face(hidden=[0, 12])
        guess = answer(landmarks.CANONICAL * 40 + 10 + [3, 4])
        assert afw.landmark_errors([guess], [truth]) == pytest.approx([5 / 40], rel=1e-5)

    def test_only_visible_points_count(self):
        guess = np.float32(landmarks.CANONICAL * 40 + 10)
        guess[12] += 100
        assert afw.landmark_errors([answer(guess)], [face(hidden=[12])]) == pytest.approx([0], abs=1e-6)
        assert afw.landmark_errors([answer(guess)], [face()]) == pytest.approx([100 * math.sqrt(2) / 21 / 40], rel=1e-5)

    def test_the_box_may_be_no_square(self):
        truth = replace(face(), box=np.float32([0, 0, 10, 40]))
        guess = answer(landmarks.CANONICAL * 40 + 10 + [1, 0])
        assert afw.landmark_errors([guess], [truth]) == pytest.approx([1 / 20], rel=1e-4)

    def test_what_has_no_error(self):
        errors = afw.landmark_errors([None, answer()], [face(), face(hidden=range(21))])
        assert errors[0] == math.inf
        assert math.isnan(errors[1])


class TestAflw:
    def test_bins(self):
        assert [aflw.bin_of(y) for y in (0, -30, 30.1, 60, -60.1, 90, 90.1)] == [0, 0, 1, 1, 2, 2, None]

    def test_the_subset_is_balanced_and_fixed(self):
        rng = np.random.default_rng(0)
        samples = [face(yaw=y) for y in rng.uniform(-100, 100, 3000)]
        chosen = aflw.balanced(samples)
        assert len(chosen) == 450
        counts = np.bincount([aflw.bin_of(float(s.pose[2])) for s in chosen])
        assert counts.tolist() == [150, 150, 150]
        assert [id(s) for s in chosen] == [id(s) for s in aflw.balanced(samples)]
        assert [id(s) for s in chosen] != [id(s) for s in aflw.balanced(samples, seed=1)]
        assert len(aflw.balanced([face(yaw=y) for y in (1, 2, 40, 70, 80)])) == 3
        with pytest.raises(ValueError, match=r"\[60, 90\]"):
            aflw.balanced([face(yaw=1), face(yaw=40)])

    def test_faces_without_labels_are_not_drawn(self):
        lacking = [replace(face(yaw=5), landmarks=None), replace(face(yaw=5), pose=None), face(yaw=5, hidden=range(21))]
        chosen = aflw.balanced([*lacking, face(yaw=1), face(yaw=40), face(yaw=70)])
        assert [float(s.pose[2]) for s in chosen] == [1, 40, 70]

    def test_by_hand(self):
        samples = [face(yaw=y) for y in (0, 40, -80, 80)]
        shifts = ([0.4, 0], [0, 0.8], [1.2, 0], [2.0, 0])
        result = aflw.score([answer(landmarks.CANONICAL * 40 + 10 + s) for s in shifts], samples)
        assert [result[n] for n in ("nme_0_30", "nme_30_60", "nme_60_90")] == pytest.approx([1, 2, 4], rel=1e-4)
        assert result["nme"] == pytest.approx(7 / 3, rel=1e-4)
        assert result["nme_std"] == pytest.approx(math.sqrt(((4 / 3) ** 2 + (1 / 3) ** 2 + (5 / 3) ** 2) / 2), rel=1e-4)

    def test_the_papers_own_deviation_is_a_samples(self):
        assert np.std([2.84, 2.94, 3.09], ddof=1) == pytest.approx(0.13, abs=0.005)
        assert np.std([3.93, 4.14, 4.71], ddof=1) == pytest.approx(0.41, abs=0.008)

    def test_perfect_random_empty(self):
        samples = [face(yaw=y) for y in np.repeat([0, 45, 75], 20)]
        perfect = aflw.score([answer(np.asarray(s.landmarks)) for s in samples], samples)
        assert (perfect["nme"], perfect["nme_std"], perfect["faces_without_proposal"]) == (0, 0, 0)
        rng = np.random.default_rng(0)
        random = aflw.score([answer(rng.uniform(10, 50, (21, 2))) for _ in samples], samples)
        assert 40 < random["nme"] < 65
        empty = aflw.score([None] * 60, samples)
        assert math.isnan(empty["nme"])
        assert (empty["nme_with_misses"], empty["faces_without_proposal"]) == (100, 60)


class TestAfw:
    def score(self, answers, faces):
        return afw.score([found([BOX], [0.9])], [photo([BOX])], answers, faces)

    @pytest.mark.parametrize(
        ("yaw", "expected"),
        [(0, 0), (7.4, 0), (7.5, 15), (-7.5, -15), (22.4, 15), (-22.6, -30), (89, 90), (-97.4, -90)],
    )
    def test_rounding(self, yaw, expected):
        assert afw.rounded(yaw) == expected

    def test_yaw_by_hand(self):
        faces = [face(yaw=y, side=s) for y, s in ((0, 200), (15, 40), (30, 200), (-45, 40))]
        # 22.4 → 15: off 15; 37.6 → 45: off 30; 30 → 30; none
        result = self.score([answer(yaw=22.4), answer(yaw=37.6), answer(yaw=30), None], faces)
        assert result["yaw_within_15"] == 50
        assert result["yaw_within_15_large"] == 100
        assert result["faces_without_proposal"] == 1
        assert [row[1] for row in result.tables[0].rows] == [25, 50, 75, 75, 75, 75, 75]

    def test_share_of_faces_by_hand(self):
        """Errors of 4.9 % and 5 % and a face without answer: one of three is below 5 %."""
        shift = [[0.049 * 40, 0], [0.0501 * 40, 0]]
        answers = [answer(landmarks.CANONICAL * 40 + 10 + s) for s in shift]
        result = self.score([*answers, None], [face()] * 3)
        assert result["faces_under_5_percent"] == pytest.approx(100 / 3)
        limits, shares = result.plots[1].lines["six points"]
        assert shares[-1] == pytest.approx(2 / 3)
        assert shares[limits <= 4.8].max() == 0

    def test_perfect_random_empty(self):
        faces = [face(yaw=15.0 * (k % 13 - 6)) for k in range(390)]
        perfect = self.score([answer(np.asarray(f.landmarks), float(f.pose[2])) for f in faces], faces)
        assert (perfect["faces_under_5_percent"], perfect["yaw_within_15"]) == (100, 100)
        rng = np.random.default_rng(0)
        random = self.score([answer(rng.uniform(10, 50, (21, 2)), rng.uniform(-97, 97)) for _ in faces], faces)
        assert random["faces_under_5_percent"] == 0
        assert random["yaw_within_15"] == pytest.approx(100 * 37 / 169, abs=6)  # 13 angles, 3 near each, 2 at the ends
        empty = self.score([None] * 390, faces)
        assert (empty["faces_under_5_percent"], empty["yaw_within_15"]) == (0, 0)
        assert math.isnan(empty["yaw_within_15_large"])


# --- gender and smile ---


class TestAttributes:
    @pytest.mark.parametrize("score", [celeba_attributes.score, fotw.score])
    def test_by_hand(self, score):
        faces = [
            sample(f"{i}.jpg", female=f, smile=s) for i, (f, s) in enumerate([(1, 1), (0, 1), (1, 0), (math.nan, 0)])
        ]
        answers = [answer(female=0.6, smile=0.4), answer(female=0.4, smile=0.9, proposals=9), None, answer(smile=0.1)]
        result = score(answers, faces)
        assert result["gender_accuracy"] == pytest.approx(200 / 3)  # right, right, no answer; the fourth has no label
        assert result["smile_accuracy"] == 50
        assert (result["gender_faces"], result["smile_faces"], result["faces_without_proposal"]) == (3, 4, 1)
        assert result["proposals_median"] == 3
        assert result.photos == 4

    def test_perfect_random_empty(self):
        rng = np.random.default_rng(0)
        faces = [sample(female=float(f), smile=float(s)) for f, s in rng.integers(0, 2, (400, 2))]
        perfect = attributes.score("x", [answer(female=f.female, smile=f.smile) for f in faces], faces)
        assert (perfect["gender_accuracy"], perfect["smile_accuracy"]) == (100, 100)
        random = attributes.score("x", [answer(female=rng.random(), smile=rng.random()) for _ in faces], faces)
        assert random["gender_accuracy"] == pytest.approx(50, abs=8)
        assert random["smile_accuracy"] == pytest.approx(50, abs=8)
        empty = attributes.score("x", [None] * 400, faces)
        assert (empty["gender_accuracy"], empty["smile_accuracy"]) == (0, 0)
        assert math.isnan(empty["proposals_median"])

    def test_nothing_labelled(self):
        with pytest.raises(ValueError, match="x: no face has a label"):
            attributes.score("x", [None], [sample()])

    def test_a_box_from_five_points(self):
        points = np.full((21, 2), np.nan, np.float32)
        five = list(landmarks.MTFL)
        points[five] = (landmarks.CANONICAL * 80 + 30)[five]
        expected = geometry.box_from_landmarks(torch.from_numpy(landmarks.CANONICAL * 80 + 30)[None])[0]
        assert regions.canonical_box(points) == pytest.approx(expected.numpy(), abs=1e-3)
        with pytest.raises(ValueError, match="two points"):
            regions.canonical_box(np.full((21, 2), np.nan))


# --- age ---


def with_age(name, age, found_age=None, sigma=math.nan, subject=None, descriptor=None):
    faces = Faces.empty()
    if found_age is not None:
        points = torch.from_numpy(landmarks.CANONICAL)[None] * 50
        vector = torch.as_tensor(UNIT if descriptor is None else descriptor, dtype=torch.float32)[None]
        faces = Faces(
            geometry.box_from_landmarks(points), torch.ones(1), points, torch.ones(1, 21), torch.zeros(1, 3),
            torch.zeros(1), torch.zeros(1), torch.tensor([float(found_age)]), vector,
        )  # fmt: skip
    return Analysed(sample(name, age=age, age_sigma=sigma, subject=subject), faces, 60, 60)


class TestLap:
    def test_error_by_hand(self):
        error = lap.error(np.array([30.0, 33, 20]), np.array([30.0, 30, 30]), np.array([3.0, 3, 5]))
        assert error == pytest.approx([0, 1 - math.exp(-0.5), 1 - math.exp(-2)])
        with pytest.raises(ValueError, match="positive deviation"):
            lap.error(np.ones(1), np.ones(1), np.zeros(1))

    def test_figures(self):
        photos = [with_age("a", 30, 33, 3.0), with_age("b", 40, None, 5.0)]
        result = lap.score(photos, mean_age=30.0)
        assert result["error"] == pytest.approx((1 - math.exp(-0.5) + 1 - math.exp(-2)) / 2)
        assert (result["age_mae"], result["photos_without_face"]) == (6.5, 1)

    def test_perfect_random_empty(self):
        rng = np.random.default_rng(0)
        ages = rng.uniform(5, 80, 300)
        assert lap.score([with_age("a", a, a, 4.0) for a in ages], 35.0)["error"] == pytest.approx(0, abs=1e-9)
        random = lap.score([with_age("a", a, rng.uniform(0, 90), 4.0) for a in ages], 35.0)["error"]
        assert 0.8 < random < 1
        empty = lap.score([with_age("a", a, None, 4.0) for a in ages], 35.0)
        assert empty["photos_without_face"] == 300
        assert empty["error"] == pytest.approx(float(lap.error(np.full(300, 35.0), ages, np.full(300, 4.0)).mean()))


class TestFgnet:
    def people(self, guess, count=8, each=12):
        rng = np.random.default_rng(0)
        photos = []
        for person in range(count):
            for _ in range(each):
                age = float(rng.integers(0, 70))
                photos.append(with_age("a", age, guess(age, rng), subject=f"{person:03d}"))
        return photos

    def test_perfect(self):
        result = fgnet.score(self.people(lambda age, _: age))
        assert result["mae_plain"] == 0
        assert result["mae"] < 2.5  # the ridge shrinks a little
        assert result["people"] == 8

    def test_what_is_learnt_is_used(self):
        """A network 10 years and half the scale off: the other people tell."""
        result = fgnet.score(self.people(lambda age, _: age / 2 + 10))
        assert result["mae_plain"] > 9
        assert result["mae"] < 2.5

    def test_random_and_empty(self):
        spread = fgnet.score(self.people(lambda age, rng: rng.uniform(0, 70)))
        assert spread["mae"] == pytest.approx(17.5, abs=3)  # no better than the mean
        empty = fgnet.score(self.people(lambda age, rng: None))
        assert empty["photos_without_face"] == 96
        assert empty["mae"] == empty["mae_plain"] == pytest.approx(17.5, abs=3)
        with pytest.raises(ValueError, match="two people"):
            fgnet.score(self.people(lambda age, _: age, count=1))

    def test_nobody_is_learnt_from_their_own_photos(self):
        """The last person alone has a descriptor that tells the age: of no use, since nobody else has it."""
        photos = self.people(lambda age, _: 30.0)
        rng = np.random.default_rng(1)
        own = rng.normal(size=(40, 512))
        tell = [with_age("a", float(k), 30.0, subject="zzz", descriptor=own[0] * k) for k in range(40)]
        alone = fgnet.score([*photos, *tell]).tables[0]
        assert sum(count for _, count, _ in alone.rows) == 136
        ages = np.array([p.sample.age for p in (*photos, *tell)])
        people = np.array([p.sample.subject for p in (*photos, *tell)])
        features = np.array([p.faces.descriptor[0].numpy() for p in (*photos, *tell)])
        predicted = fgnet.leave_one_out(features, ages, people, np.ones(136, bool))
        assert np.std(predicted[people == "zzz"]) < 1e-6

    def test_against_plain_least_squares(self):
        rng = np.random.default_rng(3)
        features, ages = rng.normal(size=(30, 2)), rng.uniform(0, 60, 30)
        people = np.repeat(["a", "b", "c"], 10)
        predicted = fgnet.leave_one_out(features, ages, people, np.ones(30, bool))
        train = people != "b"
        x = (features - features[train].mean(0)) / features[train].std(0)
        stacked = np.vstack([x[train], math.sqrt(fgnet.RIDGE) * np.eye(2)])
        target = np.append(ages[train] - ages[train].mean(), [0, 0])
        weights = np.linalg.lstsq(stacked, target, rcond=None)[0]
        expected = np.maximum(ages[train].mean() + x[~train] @ weights, 0)
        assert predicted[~train] == pytest.approx(expected)


# --- IJB-A ---


class TestTemplatesAt:
    GALLERY = np.array([1, 2, 3])

    def test_ranks_by_hand(self):
        scores = np.array([[0.9, 0.1, 0.2], [0.5, 0.4, 0.3], [0.7, 0.8, 0.6], [0.1, 0.1, 0.1]])
        probes = np.array([1, 2, 3, 9])  # ranks 1, 2, 3; 9 is a stranger and does not count
        assert templates_at.rank_rates(scores, probes, self.GALLERY, (1, 2, 3)) == pytest.approx([1 / 3, 2 / 3, 1])

    def test_an_equal_score_of_another_ranks_before(self):
        assert templates_at.rank_rates(np.array([[0.5, 0.5, 0.1]]), np.array([1]), self.GALLERY, (1, 2)).tolist() == [
            0,
            1,
        ]

    def test_a_person_with_two_templates_counts_once(self):
        scores = np.array([[0.6, 0.9, 0.8, 0.7]])
        assert templates_at.rank_rates(scores, np.array([1]), np.array([1, 2, 2, 1]), (1, 2)).tolist() == [0, 1]

    def test_open_set_by_hand(self):
        """Four strangers with alarms .8 .6 .4 .2: at FPIR 1/4 the threshold lies above .6."""
        strangers = [[0.8, 0, 0], [0, 0.6, 0], [0.4, 0, 0], [0, 0, 0.2]]
        mates = [[0.9, 0, 0], [0, 0.7, 0], [0, 0, 0.5], [0.61, 0.9, 0]]
        probes = np.array([9, 8, 7, 6, 1, 2, 3, 1])
        rates = templates_at.tpir_at_fpir(np.array(strangers + mates), probes, self.GALLERY, (0, 0.25, 0.5, 1))
        assert rates == pytest.approx([0.25, 0.75, 1, 1])

    def test_candidates_are_limited(self):
        gallery = np.arange(30)
        scores = np.vstack([np.linspace(1, 0.5, 30), np.zeros(30)])
        for person, rate in ((19, 1.0), (20, 0.0)):
            assert templates_at.tpir_at_fpir(scores, np.array([person, 99]), gallery, (0,)).tolist() == [rate]

    def test_against_a_slow_oracle(self):
        rng = np.random.default_rng(0)
        for _ in range(10):
            scores = rng.integers(0, 8, (12, 5)) / 8
            probes, gallery = rng.integers(0, 8, 12), np.arange(5)
            if np.isin(probes, gallery).all() or not np.isin(probes, gallery).any():
                continue
            for limit in (0.1, 0.3):
                strangers = [row.max() for row, p in zip(scores, probes, strict=True) if p >= 5]
                allowed = [t for t in np.linspace(-0.0625, 1.0625, 19) if np.mean([s >= t for s in strangers]) <= limit]
                own = [row[p] for row, p in zip(scores, probes, strict=True) if p < 5]
                expected = np.mean([s >= min(allowed) for s in own])
                assert templates_at.tpir_at_fpir(scores, probes, gallery, (limit,)) == pytest.approx([expected])

    def test_what_cannot_be_measured(self):
        with pytest.raises(ValueError, match="closed-set"):
            templates_at.rank_rates(np.zeros((1, 3)), np.array([9]), self.GALLERY, (1,))
        for probes in ([1], [9]):
            with pytest.raises(ValueError, match="open-set"):
                templates_at.tpir_at_fpir(np.zeros((1, 3)), np.array(probes), self.GALLERY, (0.1,))


def ijba_world(people=40, frames=3):
    """A split: a third to learn from, a third in the gallery, a third strangers; a template is a still and frames."""
    numbers = itertools.count(1)

    def template(person):
        number = next(numbers)
        faces = [
            sample(f"{number}/{k}", subject=str(person), box=BOX, group=f"{number}-{min(k, 1)}") for k in range(frames)
        ]
        return TemplateFaces(number, str(person), tuple(faces))

    learnt, known, strangers = (range(k, people, 3) for k in range(3))
    train = [template(p) for p in learnt for _ in range(2)]
    compared = {p: [template(p) for _ in range(2)] for p in (*known, *strangers)}
    pairs = [(a[0].number, b[1].number) for a in compared.values() for b in compared.values()]
    one = Verification(train, [t for pair in compared.values() for t in pair], pairs)
    many = Identification(train, [compared[p][0] for p in known], [pair[1] for pair in compared.values()])
    return ijba.Split(1, one, many)


def describe(split, vector):
    return {face.name: vector(face) for face in ijba._faces(split)}


FAST = tpe.Config(dimension=16, steps=30, batch=32)


class TestIjba:
    def test_perfect(self):
        split = ijba_world()
        result = ijba.score([split], describe(split, lambda face: np.eye(64)[int(face.subject)]), FAST)
        assert all(result[name] == 100 for name in ijba.NAMES)
        assert result["rank_1_std"] == 0
        assert result["faces_without_descriptor"] == 0

    def test_random(self):
        split, rng = ijba_world(), np.random.default_rng(0)

        def noise(face):
            vector = rng.normal(size=64)
            return vector / np.linalg.norm(vector)

        result = ijba.score([split], describe(split, noise), FAST)
        assert result["tar_at_far_0.1"] < 35
        assert result["rank_1"] < 35
        assert result["tpir_at_fpir_0.01"] < 20

    def test_empty(self):
        split = ijba_world()
        vectors = describe(split, lambda face: np.eye(64)[int(face.subject)])
        learnt = {f.name for t in split.one.train for f in t.faces}
        result = ijba.score([split], {n: v for n, v in vectors.items() if n in learnt}, FAST)
        assert [result[name] for name in ijba.NAMES] == [0] * 7
        assert result["faces_without_descriptor"] == 26 * 2 * 3

    def test_media_outvote_frames(self):
        """One still, 100 frames of one video: each medium weighs a half."""
        frames = [sample(f"f{k}", group="video") for k in range(100)]
        template = TemplateFaces(1, "1", (sample("still", group="photo"), *frames))
        vectors = {"still": np.eye(4)[0]} | {f"f{k}": np.eye(4)[1] for k in range(100)}
        pooled = ijba.pool(template, vectors, lambda rows: rows)
        assert pooled == pytest.approx([math.sqrt(0.5), math.sqrt(0.5), 0, 0])
        assert ijba.pool(template, {}, lambda rows: rows) is None
        opposite = {"still": np.eye(4)[0], "f0": -np.eye(4)[0]}
        assert ijba.pool(template, opposite, lambda rows: rows) is None

    def test_the_embedding_learns_what_tells_people_apart(self):
        """Half of each descriptor is noise, louder than the person's part: TPE learns on others to leave it out."""
        split, rng = ijba_world(120, frames=2), np.random.default_rng(0)
        own = rng.normal(size=(120, 24))

        def vector(face):
            mixed = np.append(own[int(face.subject)], 1.5 * rng.normal(size=24))
            return mixed / np.linalg.norm(mixed)

        result = ijba.score([split], describe(split, vector), tpe.Config(dimension=48, steps=200, batch=64, rate=0.1))
        assert result["tpe_tar_at_far_0.001"] > result["tar_at_far_0.001"] + 8
        assert result["tpe_tpir_at_fpir_0.01"] > result["tpir_at_fpir_0.01"] + 8
        assert result["tpe_rank_1"] > result["rank_1"]

    def test_splits_are_averaged(self):
        splits = [ijba_world(), ijba_world()]
        vectors = describe(splits[0], lambda face: np.eye(64)[int(face.subject)])
        result = ijba.score([splits[0], replace(splits[1], number=2)], vectors, FAST)
        assert (result["rank_1"], result["rank_1_std"]) == (100, 0)
        assert [row[0] for row in result.tables[0].rows] == ["1", "2", "tpe_1", "tpe_2"]
