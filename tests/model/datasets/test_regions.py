"""Regions and their labels: the drawn dots must be where the labels say, whatever was turned, mirrored or moved."""

import dataclasses

import numpy as np
import pytest
import torch

from model import geometry, landmarks
from model.datasets.augment import jitter_matrix, mirror_matrix
from model.datasets.regions import Regions, random_box
from tests.model.conftest import POSE, SIZE, assert_dots, iou


@pytest.fixture(scope="module")
def regions(drawn):
    faces, empty, store = drawn
    return Regions(faces, empty, store, SIZE)


@pytest.fixture(scope="module")
def many(regions):
    """400 regions."""
    return regions.batch(400, np.random.default_rng(3))


def in_crop(points: torch.Tensor) -> np.ndarray:
    """Region units → pixels of the crop."""
    return (points.numpy() / geometry.REGION_SCALE + 0.5) * SIZE


def test_exact_regions_show_the_landmarks_box(regions):
    batch = regions.exact(range(6))
    assert batch["crops"].shape == (6, 3, SIZE, SIZE)
    assert batch["crops"].dtype == torch.uint8
    assert batch["detection"].tolist() == [1] * 6
    for i in range(6):
        points = batch["landmarks"][i]
        assert_dots(batch["crops"][i], in_crop(points), mirrored=False)
        box = geometry.box_from_landmarks(points[None])[0]
        torch.testing.assert_close(box, torch.tensor([-0.5, -0.5, 0.5, 0.5]), atol=1e-4, rtol=0)
        torch.testing.assert_close(batch["pose"][i], torch.deg2rad(torch.from_numpy(POSE)))
        torch.testing.assert_close(batch["visibility"][i], torch.linspace(0, 1, 21))


@pytest.mark.parametrize("seed", range(8))
def test_turned_and_mirrored_regions_keep_their_labels_true(regions, seed):
    rng = np.random.default_rng(seed)
    i, mirrored = int(rng.integers(6)), bool(seed % 2)
    turn = jitter_matrix(SIZE, rng, 20, 0, 0)
    angle = np.arctan2(turn[1, 0], turn[0, 0])
    if mirrored:
        turn = mirror_matrix(SIZE) @ turn
    region = regions._region(i, regions.boxes[i], turn, mirrored)
    points = in_crop(region["landmarks"])
    assert_dots(region["crops"], points, mirrored)
    # Left stays left: of a mirrored face too.
    assert points[6, 0] < points[11, 0]
    roll, pitch, yaw = np.rad2deg(region["pose"].numpy())
    sign = -1 if mirrored else 1
    assert (pitch, yaw) == pytest.approx((POSE[1], sign * POSE[2]), abs=1e-3)
    assert roll == pytest.approx(sign * (POSE[0] + np.rad2deg(angle)), abs=1e-3)
    expected = np.linspace(0, 1, 21)[list(landmarks.MIRROR)] if mirrored else np.linspace(0, 1, 21)
    np.testing.assert_allclose(region["visibility"], expected, atol=1e-6)


def test_roll_is_the_angle_of_the_eyes_in_the_crop(regions):
    """Clockwise in the image is positive: the drawn faces stand upright, so the roll is what the crop was turned by."""
    for seed in range(6):
        turn = jitter_matrix(SIZE, np.random.default_rng(seed), 25, 0, 0)
        if mirrored := bool(seed % 2):
            turn = mirror_matrix(SIZE) @ turn
        region = regions._region(0, regions.boxes[0], turn, mirrored)
        x, y = (region["landmarks"][11] - region["landmarks"][6]).tolist()
        upright = POSE[0] * (-1 if mirrored else 1)
        assert np.rad2deg(region["pose"][0].item()) - upright == pytest.approx(np.rad2deg(np.arctan2(y, x)), abs=0.5)


def test_mirroring_twice_is_nothing(regions):
    twice = mirror_matrix(SIZE) @ mirror_matrix(SIZE)
    np.testing.assert_array_equal(twice, np.eye(3))
    once = regions._region(2, regions.boxes[2], mirror_matrix(SIZE), True)
    plain = regions._region(2, regions.boxes[2], np.eye(3), False)
    back = once["landmarks"][list(landmarks.MIRROR)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(back, plain["landmarks"], atol=1e-5, rtol=0)
    torch.testing.assert_close(once["pose"] * torch.tensor([-1.0, 1, -1]), plain["pose"])
    torch.testing.assert_close(once["visibility"][list(landmarks.MIRROR)], plain["visibility"])
    np.testing.assert_allclose(once["crops"].flip(2), plain["crops"], atol=2)


@pytest.mark.parametrize(
    ("shift", "label"),
    [(0.0, 1.0), (0.2, 1.0), (0.32, 1.0), (0.35, None), (0.45, None), (0.5, 0.0), (0.9, 0.0), (3.0, 0.0)],
)
def test_the_label_is_the_overlap(regions, shift, label):
    """A square moved by s sides overlaps by (1 - s) / (1 + s): 1/2 at a third, 0.35 at 0.4815."""
    truth = regions.boxes[1]
    box = truth + np.float32([shift, 0, shift, 0]) * (truth[2] - truth[0])
    assert iou(box, truth) == pytest.approx(max(0, (1 - shift) / (1 + shift)), abs=1e-4)
    found = regions._region(1, box, np.eye(3), False)["detection"].item()
    assert np.isnan(found) if label is None else found == label


def test_many_draws(many):
    """Regions with landmarks overlap their face by more than 0.35; the label follows from the landmarks' own box."""
    assert set(many["detection"][~many["detection"].isnan()].tolist()) == {0.0, 1.0}
    negative = (many["detection"] == 0) & many["landmarks"].isnan().all(dim=(1, 2))
    assert negative.float().mean().item() == pytest.approx(0.4, abs=0.08)
    for name in ("landmarks", "visibility", "pose"):
        assert many[name][negative].isnan().all()
        assert many[name][~negative].isfinite().all()
    # The mirrored half of the draws swaps the sign of yaw.
    yaw = torch.rad2deg(many["pose"][~negative, 2])
    assert set(yaw.round().tolist()) == {-20.0, 20.0}
    assert (yaw > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    # Turning changes the landmarks' box a little, so check the label where the overlap is clear.
    boxes = geometry.box_from_landmarks(many["landmarks"][~negative]).numpy()
    region = np.float32([-0.5, -0.5, 0.5, 0.5])
    overlaps = np.array([iou(box, region) for box in boxes])
    labels = many["detection"][~negative].numpy()
    assert overlaps.min() > 0.25
    assert (labels[overlaps > 0.62] == 1).all()
    assert np.isnan(labels[overlaps < 0.4]).all()
    assert np.isnan(labels).any()


def test_negatives_miss_the_face(regions):
    rng = np.random.default_rng(0)
    boxes = {sample.name: box for sample, box in zip(regions.samples, regions.boxes, strict=True)}
    beside = 0
    for _ in range(300):
        sample, box = regions._beside_face(rng)
        assert box[2] > box[0]
        if sample.faces:
            assert iou(box, boxes[sample.name]) < Regions.NEGATIVE
            beside += 1
    assert beside > 250


def test_photos_that_may_hold_a_second_face_give_no_negatives(drawn):
    faces, empty, store = drawn
    crowd = [dataclasses.replace(sample, faces=2) for sample in faces[:3]]
    loader = Regions([*crowd, *faces[3:]], empty, store, SIZE)
    assert loader._safe == [3, 4, 5]
    elsewhere = [dataclasses.replace(sample, source="helen") for sample in faces]
    assert Regions(elsewhere, empty, store, SIZE)._safe == []


def test_hard_negatives_come_from_their_boxes(drawn):
    faces, empty, store = drawn
    hard = {"negatives/1": np.float32([[10, 10, 60, 60]]), "negatives/unknown": np.float32([[0, 0, 9, 9]])}
    loader = Regions(faces, empty, store, SIZE, negatives=1.0, hard=hard)
    assert [(sample.name, box.tolist()) for sample, box in loader.hard] == [("1", [10, 10, 60, 60])]
    batch = loader.batch(40, np.random.default_rng(0))
    assert (batch["detection"] == 0).all()


def test_unlabelled_faces_are_no_regions(drawn):
    faces, empty, store = drawn
    holes = faces[1].landmarks.copy()
    holes[4] = np.nan
    odd = [dataclasses.replace(faces[0], landmarks=None), dataclasses.replace(faces[1], landmarks=holes)]
    assert [s.name for s in Regions([*odd, *faces[2:]], empty, store, SIZE).samples] == ["2", "3", "4", "5"]


def test_what_is_unknown_is_nan(drawn):
    faces, empty, store = drawn
    bare = [dataclasses.replace(sample, visibility=None, pose=None) for sample in faces]
    batch = Regions(bare, empty, store, SIZE).exact([0])
    assert batch["visibility"].isnan().all()
    assert batch["pose"].isnan().all()
    assert batch["landmark_weight"].tolist() == [[1.0] * 21]


def test_hidden_points_weigh_little(regions):
    weight = regions.exact([0])["landmark_weight"][0]
    assert weight[0] <= 0.1 + 1e-6
    assert weight[20] == 1
    assert (weight.diff() > 0).all()


def test_fixed_negatives_are_fixed(regions):
    assert torch.equal(regions.exact_negatives(4)["crops"], regions.exact_negatives(4)["crops"])
    assert (regions.exact_negatives(4)["detection"] == 0).all()


def test_random_boxes_touch_the_photo():
    rng = np.random.default_rng(0)
    for shape in ((40, 300, 3), (10, 10, 3), (1, 1, 3)):
        for _ in range(100):
            x1, y1, x2, y2 = random_box(np.zeros(shape, np.uint8), rng)
            assert min(x2, shape[1]) > max(x1, 0)
            assert min(y2, shape[0]) > max(y1, 0)
