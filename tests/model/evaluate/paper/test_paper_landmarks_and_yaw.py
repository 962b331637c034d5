"""Landmarks and yaw on AFLW and AFW: by hand, and with perfect, random and empty answers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from model import landmarks
from model.evaluate.paper import aflw, afw
from tests.model.evaluate.paper.samples import BOX, answer, face, found, photo


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
