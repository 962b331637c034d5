"""The measures against cases worked out by hand, slow oracles, and perfect, random and empty predictions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.evaluate import metrics

SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
GENUINE = np.array([True, True, False, True, False, False])


def slow_tar_at_far(scores, genuine, limit):
    best = 0.0
    for threshold in [*scores, np.inf]:
        accepted = scores >= threshold
        if accepted[~genuine].mean() <= limit:
            best = max(best, accepted[genuine].mean())
    return best


class TestVerification:
    def test_roc_by_hand(self):
        far, tar, thresholds = metrics.roc(SCORES, GENUINE)
        assert thresholds.tolist() == [np.inf, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
        np.testing.assert_allclose(far, [0, 0, 0, 1 / 3, 1 / 3, 2 / 3, 1])
        np.testing.assert_allclose(tar, [0, 1 / 3, 2 / 3, 2 / 3, 1, 1, 1])
        assert metrics.area_under_roc(SCORES, GENUINE) == pytest.approx(8 / 9)

    def test_tar_at_far_by_hand(self):
        assert metrics.tar_at_far(SCORES, GENUINE, [0.0, 0.3, 1 / 3, 1.0]).tolist() == [2 / 3, 2 / 3, 1.0, 1.0]

    def test_equal_scores_are_accepted_together(self):
        far, tar, _ = metrics.roc(np.array([0.5, 0.5, 0.5, 0.5]), np.array([True, False, True, False]))
        assert far.tolist() == [0, 1]
        assert tar.tolist() == [0, 1]
        assert metrics.tar_at_far(np.full(4, 0.5), np.array([True, False, True, False]), [0.5])[0] == 0

    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=20), st.floats(0, 1))
    def test_tar_at_far_is_the_slow_one(self, pairs, limit):
        scores, genuine = np.array([s / 5 for s, _ in pairs]), np.array([g for _, g in pairs])
        if genuine.all() or not genuine.any():
            with pytest.raises(ValueError, match="genuine and impostor"):
                metrics.tar_at_far(scores, genuine, [limit])
            return
        assert metrics.tar_at_far(scores, genuine, [limit])[0] == slow_tar_at_far(scores, genuine, limit)

    def test_perfect_and_random(self):
        rng = np.random.default_rng(0)
        genuine = rng.random(20_000) < 0.5
        assert metrics.tar_at_far(genuine.astype(float), genuine, [0.0])[0] == 1
        scores = rng.random(20_000)
        np.testing.assert_allclose(metrics.tar_at_far(scores, genuine, [0.1, 0.5]), [0.1, 0.5], atol=0.02)
        assert metrics.area_under_roc(scores, genuine) == pytest.approx(0.5, abs=0.01)
        folds = np.arange(20_000) % 10
        assert metrics.fold_accuracies(scores, genuine, folds)[0].mean() == pytest.approx(0.5, abs=0.02)

    def test_best_threshold_by_hand(self):
        # five of six are right from 0.8 up (above 0.7) and from 0.6 up (above 0.5); the first from above is taken
        assert metrics.best_threshold(SCORES, GENUINE) == pytest.approx(0.75)
        # all different is best: the threshold lies above every score
        assert metrics.best_threshold(np.array([0.9, 0.1]), np.array([False, True])) > 0.9

    @given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=3, max_size=25))
    def test_best_threshold_is_the_slow_one(self, pairs):
        scores, genuine = np.array([float(s) for s, _ in pairs]), np.array([g for _, g in pairs])
        if genuine.all() or not genuine.any():
            return
        candidates = [-0.5 + k for k in range(9)]
        best = max(((scores >= t) == genuine).mean() for t in candidates)
        chosen = metrics.best_threshold(scores, genuine)
        assert ((scores >= chosen) == genuine).mean() == best

    def test_each_fold_takes_its_threshold_from_the_others(self):
        # fold 0 is separated at 0.5, fold 1 at 5: each is judged by the other's threshold
        scores = np.array([0.9, 0.1, 9.0, 1.0])
        genuine, folds = np.array([True, False, True, False]), np.array([0, 0, 1, 1])
        accuracies, thresholds = metrics.fold_accuracies(scores, genuine, folds)
        assert thresholds.tolist() == [5.0, 0.5]
        assert accuracies.tolist() == [0.5, 0.5]
        with pytest.raises(ValueError, match="two folds"):
            metrics.fold_accuracies(scores, genuine, np.zeros(4, int))

    def test_all_pairs_counts_a_missing_face_as_different(self):
        descriptors = np.array([[1.0, 0], [1, 0], [0, 1], [0, 0]])
        scores, genuine = metrics.all_pairs(descriptors, np.array([7, 7, 8, 8]), np.array([True, True, True, False]))
        assert scores.tolist() == [1, 0, -1, 0, -1, -1]
        assert genuine.tolist() == [True, False, False, False, False, True]


def slow_iou(a, b):
    """Counts unit cells, for boxes at integers."""
    cells = [{(x, y) for x in range(k[0], k[2]) for y in range(k[1], k[3])} for k in (a, b)]
    union = len(cells[0] | cells[1])
    return len(cells[0] & cells[1]) / union if union else 0.0


BOX = st.lists(st.integers(0, 8), min_size=4, max_size=4)


class TestDetection:
    @given(BOX, BOX)
    def test_iou_counts_cells(self, a, b):
        assert metrics.iou(np.array([a], float), np.array([b], float))[0, 0] == pytest.approx(slow_iou(a, b))

    def test_no_boxes(self):
        assert metrics.iou(np.zeros((0, 4)), np.ones((3, 4))).shape == (0, 3)
        assert metrics.match(np.zeros((0, 4)), np.zeros(0), np.ones((3, 4))).tolist() == []
        assert metrics.match(np.array([[0.0, 0, 9, 9]]), np.ones(1), np.zeros((0, 4))).tolist() == [0]

    def test_match_by_hand(self):
        truth = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
        boxes = np.array([[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 4], [50, 50, 60, 60], [20, 0, 30, 5]])
        scores = np.array([0.6, 0.9, 0.8, 0.7, 0.5])
        # the second takes the first face, the first comes too late; 0.4 overlap is too little, 0.5 is enough
        assert metrics.match(boxes, scores, truth).tolist() == [0, 1, 0, 0, 1]
        ignored = metrics.IGNORED
        # the third is a part of a marked face, which excuses nothing; the fourth is somewhere else
        assert metrics.match(boxes, scores, truth, extras=True).tolist() == [0, 1, 0, ignored, 1]
        beside = np.array([[6.0, 0, 16, 10], [5, 0, 15, 10]])  # two fifths and half of them on the first face
        assert metrics.match(beside, scores[:2], truth, extras=True).tolist() == [ignored, 0]
        assert metrics.match(boxes, scores, np.zeros((0, 4)), extras=True).tolist() == [ignored] * 5

    def test_precision_recall_by_hand(self):
        curve = metrics.precision_recall(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 0, 1, metrics.IGNORED]), 4)
        np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
        np.testing.assert_allclose(curve.recall, [0.25, 0.25, 0.5])
        assert curve.average_precision == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)

    def test_perfect_empty_and_wrong(self):
        assert metrics.precision_recall(np.array([0.9, 0.8]), np.array([1, 1]), 2).average_precision == 1
        assert metrics.precision_recall(np.zeros(0), np.zeros(0, int), 2).average_precision == 0
        assert metrics.precision_recall(np.array([0.9, 0.8]), np.array([0, 0]), 2).average_precision == 0
        with pytest.raises(ValueError, match="at least one"):
            metrics.precision_recall(np.zeros(0), np.zeros(0, int), 0)

    def test_equal_scores_do_not_depend_on_their_order(self):
        scores = np.full(4, 0.5)
        curves = [metrics.precision_recall(scores, np.array(v), 2) for v in ([1, 1, 0, 0], [0, 0, 1, 1])]
        assert [c.average_precision for c in curves] == [0.5, 0.5]

    @given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 1, -1])), max_size=20), st.integers(0, 5))
    def test_average_precision_is_the_slow_one(self, found, missed):
        scores, verdicts = np.array([float(s) for s, _ in found]), np.array([v for _, v in found], dtype=int)
        faces = int((verdicts == 1).sum()) + missed
        if not faces:
            return
        points = []  # recall, precision at each threshold
        for threshold in range(10):
            accepted = verdicts[scores >= threshold]
            right, wrong = (accepted == 1).sum(), (accepted == 0).sum()
            points.append((right / faces, right / (right + wrong) if right + wrong else 0.0))
        slow = 0.0
        for k in range(1, faces + 1):
            slow += max((p for r, p in points if r >= k / faces - 1e-9), default=0.0) / faces
        assert metrics.precision_recall(scores, verdicts, faces).average_precision == pytest.approx(slow)

    def test_threshold_for_false_alarms(self):
        alarms = np.array([0.9, 0.3, 0.5, 0.5])
        for photos, rate, threshold in [(10, 0.1, 0.5), (10, 0.0, 0.9), (10, 0.3, 0.3), (10, 0.4, 0.0), (10, 5, 0.0)]:
            assert metrics.threshold_for_false_alarms(alarms, photos, rate) == threshold
            assert (alarms > threshold).sum() <= rate * photos
        assert metrics.threshold_for_false_alarms(np.zeros(0), 10, 0.0) == 0


class TestLandmarks:
    def test_by_hand(self):
        truth = np.zeros((2, 3, 2))
        points = truth.copy()
        points[0, 0] = (3, 4)
        points[0, 1] = (100, 100)  # not counted
        boxes = np.array([[0.0, 0, 4, 9], [0, 0, 10, 10]])
        counted = np.array([True, False, True])
        np.testing.assert_allclose(metrics.normalised_mean_error(points, truth, counted, boxes), [2.5 / 6, 0])

    def test_nothing_counted_or_an_empty_box(self):
        points = np.zeros((1, 2, 2))
        with pytest.raises(ValueError, match="counted point"):
            metrics.normalised_mean_error(points, points, np.zeros(2, bool), np.array([[0.0, 0, 1, 1]]))
        with pytest.raises(ValueError, match="box with an area"):
            metrics.normalised_mean_error(points, points, np.ones(2, bool), np.array([[1.0, 1, 1, 1]]))

    def test_cumulative_counts_misses(self):
        limits = np.array([0.0, 0.02, 0.05, 1.0])
        assert metrics.cumulative(np.array([0.05, 0.02]), limits, 4).tolist() == [0, 0.25, 0.5, 0.5]
        assert metrics.cumulative(np.zeros(0), limits, 3).tolist() == [0, 0, 0, 0]
        with pytest.raises(ValueError, match="of 1 faces"):
            metrics.cumulative(np.zeros(2), limits, 1)

    def test_angles_wrap(self):
        first, second = np.array([179.0, -170, 10]), np.array([-179.0, 170, 30])
        assert metrics.angle_difference(first, second).tolist() == [-2, 20, -20]

    def test_by_group(self):
        assert metrics.by_group(np.array([1.0, 2, 6]), ["b", "a", "a"]) == {"a": (2, 4.0), "b": (1, 1.0)}
