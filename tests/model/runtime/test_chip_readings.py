"""Landmarks, visibility and pose of region and chip: the mean of both, across the seam at 180°, however it was cut."""

import numpy as np
import pytest

from model import landmarks, warps
from model.boxes import rotations
from model.runtime.chip_readings import POSE_SHARE, combined_visibility, mean_landmarks, mean_pose


def turned(roll: float) -> np.ndarray:
    """The matrix [1, 2, 3] to the chip of a face that lies in its photo turned clockwise by `roll` degrees."""
    points = (landmarks.CANONICAL[None] - 0.5) * 80 @ rotations(np.array([roll])).transpose(0, 2, 1) + 100
    return warps.alignment_matrices(points.astype(np.float32), 112, "canonical")


@pytest.mark.parametrize("roll", [0.0, 30.0, -75.0, 179.0, -179.0])
def test_a_chip_s_reading_that_agrees_changes_nothing(roll: float):
    region = np.array([[roll, 5.0, -20.0]], np.float32)
    chip = np.array([[0.0, 5.0, -20.0]], np.float32)
    np.testing.assert_allclose(mean_pose(region, chip, turned(roll)), region, atol=0.5)


def test_differences_count_by_their_share_and_rolls_go_the_short_way_round():
    region = np.array([[178.0, 10.0, -20.0]], np.float32)
    chip = np.array([[4.0, 20.0, -30.0]], np.float32)
    expected = np.array(
        [[178 + 4 * POSE_SHARE - 360 * (178 + 4 * POSE_SHARE > 180), 10 + 10 * POSE_SHARE, -20 - 10 * POSE_SHARE]]
    )
    np.testing.assert_allclose(mean_pose(region, chip, turned(178.0)), expected, atol=0.5)
    np.testing.assert_array_equal(region, [[178.0, 10.0, -20.0]])


@pytest.mark.parametrize(
    ("yaw", "share"), [(35.0, POSE_SHARE), (-47.5, (POSE_SHARE + 1) / 2), (60.0, 1.0), (-90.0, 1.0)]
)
def test_of_profiles_the_chip_s_reading_counts_more(yaw: float, share: float):
    chip = np.array([[0.0, 5.0, yaw]], np.float32)
    pose = mean_pose(np.array([[0.0, 5.0, 0.0]], np.float32), chip, turned(0.0))
    np.testing.assert_allclose(pose[0, 2], share * yaw, atol=0.1)


def test_no_faces_have_no_pose_no_landmarks_and_no_visibility():
    nothing = np.zeros((0, 3), np.float32)
    assert mean_pose(nothing, nothing, np.zeros((0, 2, 3))).shape == (0, 3)
    no_points = np.zeros((0, 21, 2), np.float32)
    assert mean_landmarks(no_points, no_points, np.zeros((0, 2, 3)), 112, nothing[:, 0]).shape == (0, 21, 2)
    assert combined_visibility(no_points[:, :, 0], no_points[:, :, 0], no_points, np.zeros((0, 2, 3))).shape == (0, 21)


@pytest.mark.parametrize("roll", [0.0, 30.0, 179.0])
@pytest.mark.parametrize(("yaw", "share"), [(0.0, 1.0), (-35.0, 1.0), (47.5, 0.75), (60.0, 0.5), (-80.0, 0.5)])
def test_landmarks_are_the_chip_s_and_of_profiles_the_mean(roll: float, yaw: float, share: float):
    matrices = turned(roll)
    rng = np.random.default_rng(0)
    region, truth = rng.uniform(60, 140, (2, 1, 21, 2)).astype(np.float32)
    in_chip = warps.transform(truth, matrices) / 112
    found = mean_landmarks(region, in_chip, matrices, 112, np.array([yaw]))
    np.testing.assert_allclose(found, region + share * (truth - region), atol=0.01)
    assert found.dtype == np.float32


def test_a_chip_of_a_single_point_tells_nothing():
    point = np.full((1, 21, 2), 30, np.float32)
    matrices = warps.alignment_matrices(point, 112)
    assert not matrices[:, :, :2].any()
    found = mean_landmarks(point, np.full((1, 21, 2), 0.5), matrices, 112, np.zeros(1))
    np.testing.assert_array_equal(found, point)
    seen = np.ones((1, 21), np.float32)
    np.testing.assert_array_equal(
        combined_visibility(seen, np.zeros_like(seen), np.full((1, 21, 2), 0.5), matrices), seen
    )


def test_visibility_is_the_chip_s_reading_of_what_lies_in_it():
    region, chip = np.random.default_rng(0).uniform(0, 1, (2, 1, 21)).astype(np.float32)
    places = np.random.default_rng(1).uniform(0, 1, (1, 21, 2))
    np.testing.assert_array_equal(combined_visibility(region, chip, places, turned(30.0)), chip)
    places[0, 3, 0] = -0.01
    places[0, 20, 1] = 1.05
    expected = chip.copy()
    expected[0, [3, 20]] = region[0, [3, 20]]
    found = combined_visibility(region, chip, places, turned(30.0))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
