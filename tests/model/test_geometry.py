"""Geometry against slow loops, OpenCV, and things known by construction."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from model import geometry, landmarks

quick = settings(deadline=None, max_examples=40)
number = st.floats(-50, 50, width=32)
few_boxes = hnp.arrays(np.float32, st.tuples(st.integers(0, 8), st.just(4)), elements=number).map(torch.from_numpy)


def proper(boxes: torch.Tensor) -> torch.Tensor:
    corners = boxes.view(-1, 2, 2)
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)


def slow_iou(a: list[float], b: list[float]) -> float:
    def area(box: list[float]) -> float:
        return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)

    inner = area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])
    union = area(a) + area(b) - inner
    return inner / union if union > 1e-6 else 0.0


def similarities(count: int, seed: int) -> torch.Tensor:
    """Random similarity transforms [count, 2, 3]."""
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-np.pi, np.pi, count), np.exp(rng.uniform(-2, 2, count))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    shift = rng.uniform(-100, 100, (count, 2))
    rows = np.stack([cosine, -sine, shift[:, 0], sine, cosine, shift[:, 1]], axis=1)
    return torch.from_numpy(rows).float().view(count, 2, 3)


# --- boxes ---


@quick
@given(few_boxes.map(proper), few_boxes.map(proper))
def test_iou_is_what_a_loop_finds(first, second):
    found = geometry.box_iou(first, second)
    assert found.shape == (len(first), len(second))
    for i, a in enumerate(first.double().tolist()):
        for j, b in enumerate(second.double().tolist()):
            if slow_iou(a, b) > 0 or found[i, j] > 0:
                assert found[i, j] == pytest.approx(slow_iou(a, b), abs=1e-3)


@quick
@given(few_boxes.map(proper))
def test_iou_is_symmetric_and_bounded(boxes):
    iou = geometry.box_iou(boxes, boxes)
    assert torch.equal(iou, iou.T)
    assert ((iou >= 0) & (iou <= 1 + 1e-6)).all()
    real = geometry.box_area(boxes) > 1e-3
    torch.testing.assert_close(iou.diagonal()[real], torch.ones(int(real.sum())))


def test_iou_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [3, 3, 3, 9], [9, 9, 1, 1]])
    iou = geometry.box_iou(boxes[:1], boxes)[0]
    torch.testing.assert_close(iou, torch.tensor([1, 1 / 3, 0, 0, 0]))
    assert geometry.box_area(boxes).tolist() == [100, 100, 100, 0, 0]


def slow_suppress(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(slow_iou(boxes[index], boxes[k]) <= threshold for k in kept):
            kept.append(index)
    return kept


@quick
@given(st.integers(0, 12), st.integers(0, 2**31), st.sampled_from([0.1, 0.4, 0.7]))
def test_suppression_is_what_a_loop_finds(count, seed, threshold):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 20, (count, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 20, (count, 2))], axis=1).astype(np.float32)
    scores = rng.integers(0, 4, count) / 4  # ties
    kept, owner = geometry.suppress(torch.from_numpy(boxes), torch.from_numpy(scores), threshold)
    assert kept.tolist() == slow_suppress(boxes.tolist(), scores.tolist(), threshold)
    assert kept.dtype == torch.int64
    for index, own in enumerate(owner.tolist()):
        first = next(
            n for n, k in enumerate(kept.tolist()) if k == index or slow_iou(*boxes[[k, index]].tolist()) > threshold
        )
        assert own == first


def test_suppression_of_parts():
    boxes = torch.tensor([[0.0, 0, 100, 100], [10, 10, 40, 40], [90, 90, 130, 130]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert geometry.suppress(boxes, scores, 0.4)[0].tolist() == [0, 1, 2]
    kept, owner = geometry.suppress(boxes, scores, 0.4, contained=0.6)
    assert kept.tolist() == [0, 2]
    assert owner.tolist() == [0, 0, 1]
    torch.testing.assert_close(geometry.box_overlap(boxes[:1], boxes)[0], torch.tensor([1, 1, 100 / 1600]))


def test_suppression_of_nothing():
    kept, owner = geometry.suppress(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert len(kept) == len(owner) == 0


def test_the_box_moves_grows_and_mirrors_with_its_landmarks():
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 100
    points = points + torch.from_numpy(np.random.default_rng(0).normal(0, 4, (5, 21, 2))).float()
    boxes = geometry.box_from_landmarks(points)
    shift = torch.tensor([13.0, -40.0])
    torch.testing.assert_close(
        geometry.box_from_landmarks(points + shift), boxes + shift.repeat(2), rtol=1e-5, atol=1e-4
    )
    torch.testing.assert_close(geometry.box_from_landmarks(points * 3), boxes * 3, rtol=1e-5, atol=1e-4)
    mirrored = geometry.box_from_landmarks(points[:, list(landmarks.MIRROR)] * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(mirrored, torch.stack([-boxes[:, 2], boxes[:, 1], -boxes[:, 0], boxes[:, 3]], dim=1))
    torch.testing.assert_close(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    torch.testing.assert_close(geometry.box_from_landmarks(points[:, torch.randperm(21)]), boxes)


def test_the_box_of_the_canonical_face():
    x1, y1, x2, y2 = geometry.box_from_landmarks(torch.from_numpy(landmarks.CANONICAL)[None])[0].tolist()
    # Bounding box x .1079–.8921, y .1729–.9205: the longer side is .7842.
    side = 0.7842 * geometry.BOX_SCALE
    assert (x2 - x1, y2 - y1) == pytest.approx((side, side), abs=1e-4)
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((0.5, 0.5467 + 0.7842 * geometry.BOX_SHIFT), abs=1e-4)


def test_a_square_has_the_centre_and_area():
    boxes = torch.tensor([[0.0, 0, 4, 16], [10, 10, 13, 13], [2, 2, 2, 8]])
    squares = geometry.square(boxes)
    torch.testing.assert_close(squares, torch.tensor([[-2.0, 4, 6, 12], [10, 10, 13, 13], [2, 5, 2, 5]]))


# --- transforms ---


def test_similarity_recovers_what_moved_the_points():
    truth = similarities(50, seed=1)
    source = torch.from_numpy(np.random.default_rng(2).uniform(0, 100, (50, 7, 2))).float()
    found = geometry.similarity(source, geometry.transform(source, truth))
    torch.testing.assert_close(found, truth, atol=2e-3, rtol=1e-4)


def test_similarity_is_the_least_squares_one():
    rng = np.random.default_rng(3)
    source = rng.uniform(0, 100, (20, 7, 2))
    target = rng.uniform(0, 100, (20, 7, 2))
    found = geometry.similarity(torch.from_numpy(source), torch.from_numpy(target)).double().numpy()
    for matrix, a, b in zip(found, source, target, strict=True):
        # x' = p x - q y + s, y' = q x + p y + t: four unknowns, linear.
        rows = [([x, -y, 1, 0], [y, x, 0, 1]) for x, y in a]
        p, q, s, t = np.linalg.lstsq(np.reshape(rows, (-1, 4)), b.ravel(), rcond=None)[0]
        np.testing.assert_allclose(matrix, [[p, -q, s], [q, p, t]], atol=1e-3)


def test_similarity_agrees_with_opencv():
    rng = np.random.default_rng(4)
    truth = similarities(5, seed=5)
    source = torch.from_numpy(rng.uniform(0, 100, (5, 9, 2))).float()
    target = geometry.transform(source, truth)
    for a, b, found in zip(source.numpy(), target.numpy(), geometry.similarity(source, target).numpy(), strict=True):
        np.testing.assert_allclose(found, cv2.estimateAffinePartial2D(a, b)[0], atol=2e-2, rtol=1e-3)


def test_similarity_never_reflects():
    source = torch.rand(4, 7, 2)
    linear = geometry.similarity(source, source * torch.tensor([-1.0, 1.0]))[:, :, :2]
    assert (torch.linalg.det(linear) >= 0).all()


def test_similarity_of_equal_points_is_scale_0_on_the_targets_mean():
    target = torch.rand(1, 7, 2)
    found = geometry.similarity(torch.full((1, 7, 2), 5.0), target)
    torch.testing.assert_close(found[0, :, :2], torch.zeros(2, 2))
    torch.testing.assert_close(found[0, :, 2], target[0].mean(dim=0))


def test_similarity_of_no_faces():
    assert geometry.similarity(torch.zeros(0, 7, 2), torch.zeros(7, 2)).shape == (0, 2, 3)


def test_invert_undoes():
    matrices = similarities(20, seed=6)
    points = torch.rand(20, 5, 2) * 100
    there = geometry.transform(points, matrices)
    torch.testing.assert_close(geometry.transform(there, geometry.invert(matrices)), points, atol=1e-2, rtol=1e-3)


@pytest.mark.parametrize("size", [64, 150, 227])
def test_alignment_brings_a_moved_canonical_face_home(size):
    canonical = torch.from_numpy(landmarks.CANONICAL)
    moved = geometry.transform(canonical[None].expand(8, -1, -1) * 60, similarities(8, seed=7))
    home = geometry.transform(moved, geometry.alignment_matrices(moved, size))
    torch.testing.assert_close(home, (canonical * size).expand(8, -1, -1), atol=2e-2, rtol=0)


def test_region_matrices_show_the_box_with_context():
    boxes = torch.tensor([[10.0, 20, 50, 60], [-5, -5, 5, 5], [100, 0, 300, 200]])
    matrices = geometry.region_matrices(boxes, 150)
    corners = geometry.transform(boxes.view(3, 2, 2), matrices)
    margin = 150 * (1 - 1 / geometry.REGION_SCALE) / 2
    expected = torch.tensor([[margin, margin], [150 - margin, 150 - margin]])
    torch.testing.assert_close(corners, expected.expand(3, -1, -1), atol=1e-3, rtol=0)


def test_a_turned_region_shows_the_face_upright():
    """A face turned by 70° and cut by its upright box is the face cut before it was turned."""
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 60 + torch.tensor([30.0, 90.0])
    roll = torch.tensor([70.0])
    turned = points @ geometry.rotations(roll).transpose(1, 2)
    assert turned[0, :, 0].mean() < 0  # clockwise: what lies below goes left
    plain = geometry.transform(points, geometry.region_matrices(geometry.box_from_landmarks(points), 150))
    boxes = geometry.upright_boxes(turned, roll)
    torch.testing.assert_close(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    shown = geometry.transform(turned, geometry.region_matrices(boxes, 150, roll))
    torch.testing.assert_close(shown, plain, atol=1e-2, rtol=0)


def test_an_upright_face_keeps_its_box():
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 60 + 20
    none = torch.zeros(1)
    box = geometry.box_from_landmarks(points)
    torch.testing.assert_close(geometry.upright_boxes(points, none), box)
    torch.testing.assert_close(geometry.region_matrices(box, 150, none), geometry.region_matrices(box, 150))


def test_region_matrices_of_a_box_without_extent_are_finite():
    assert geometry.region_matrices(torch.tensor([[5.0, 5, 5, 5]]), 150).isfinite().all()


# --- crops ---


def slow_warp(image: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """Bilinear sampling at pixel centres, black outside, one pixel at a time."""
    height, width = image.shape[:2]
    inverse = np.linalg.inv(matrix[:, :2])
    out = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            x, y = inverse @ (np.array([column + 0.5, row + 0.5]) - matrix[:, 2]) - 0.5
            left, top = int(np.floor(x)), int(np.floor(y))
            for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
                weight = abs(1 - i - (y - top)) * abs(1 - j - (x - left))
                if 0 <= top + i < height and 0 <= left + j < width:
                    out[row, column] += weight * image[top + i, left + j]
    return out


def smooth_photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), dtype=np.uint8), (0, 0), 2)


def test_the_identity_changes_nothing():
    photo = smooth_photo(32, 32)
    np.testing.assert_array_equal(geometry.warp(photo, np.eye(2, 3), 32), photo)


def test_a_whole_shift_moves_pixels_and_fills_with_black():
    photo = smooth_photo(20, 30)
    moved = geometry.warp(photo, np.array([[1.0, 0, 5], [0, 1, -3]]), 24)
    np.testing.assert_array_equal(moved[:17, 5:24], photo[3:20, :19])
    assert not moved[:, :5].any()
    assert not moved[17:].any()


@pytest.mark.parametrize("seed", range(6))
def test_growing_and_turning_is_bilinear(seed):
    rng = np.random.default_rng(seed)
    angle, scale = rng.uniform(-3, 3), rng.uniform(1, 2.5)
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if seed % 2:
        linear = linear @ np.diag([-1, 1])
    photo = smooth_photo(18, 25, seed)
    matrix = np.concatenate([linear, (np.array([12, 12]) - linear @ (12.0, 9.0))[:, None]], axis=1)
    found = geometry.warp(photo, matrix, 24).astype(float)
    # OpenCV rounds positions to 1/32 of a pixel; at the black border that is a few levels.
    difference = np.abs(found - slow_warp(photo, matrix, 24))
    assert np.mean(difference) < 1.5
    assert np.quantile(difference, 0.98) < 6


@pytest.mark.parametrize("factor", [2, 5, 16])
def test_shrinking_averages_by_area(factor):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (12 * factor, 12 * factor, 3), dtype=np.uint8)
    found = geometry.warp(photo, np.array([[1 / factor, 0, 0], [0, 1 / factor, 0]]), 12)
    mean = photo.reshape(12, factor, 12, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found, mean, atol=1)


def test_a_small_part_of_a_large_photo_is_cut_where_it_is():
    photo = np.zeros((400, 600, 3), np.uint8)
    photo[301:309, 451:459] = 255
    scale = 20 / 10
    found = geometry.warp(photo, np.array([[scale, 0, -450 * scale], [0, scale, -300 * scale]]), 20)
    assert found[4:16, 4:16].min() == 255
    assert found[0, 0].max() < 128


def test_what_lies_outside_is_black():
    photo = np.full((10, 10, 3), 255, np.uint8)
    for shift in (-1000.0, 1000.0):
        assert not geometry.warp(photo, np.array([[1, 0, shift], [0, 1, 0]]), 16).any()
    around = geometry.warp(photo, np.array([[1.0, 0, 20], [0, 1, 20]]), 50)
    assert (around[20:30, 20:30] == 255).all()
    assert around.sum() == 100 * 3 * 255


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_map_without_inverse_shows_nothing(value):
    photo = np.full((10, 10, 3), 255, np.uint8)
    assert not geometry.warp(photo, np.array([[value, 0, 5], [0, value, 5]]), 16).any()
    assert not geometry.warp(photo, np.array([[1, 0, np.nan], [0, 1, 5]]), 16).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 40.0])
def test_photos_of_any_shape_can_be_cut(shape, scale):
    photo = np.full((*shape, 3), 200, np.uint8)
    found = geometry.warp(
        photo, np.array([[scale, 0, 8 - scale * shape[1] / 2], [0, scale, 8 - scale * shape[0] / 2]]), 16
    )
    assert found.shape == (16, 16, 3)
    assert found.max() <= 200


def test_a_photo_seen_through_a_mirroring_view():
    photo = smooth_photo(32, 32)
    view = photo[:, ::-1]
    np.testing.assert_array_equal(geometry.warp(view, np.eye(2, 3), 32), view)


def test_crop_takes_each_map_from_its_own_photo():
    photos = [np.full((20, 20, 3), value, np.uint8) for value in (10, 20, 30)]
    matrices = torch.eye(2, 3).expand(4, -1, -1)
    crops = geometry.crop(photos, torch.tensor([2, 0, 0, 1]), matrices, 8)
    assert crops.shape == (4, 3, 8, 8)
    assert crops.dtype == torch.uint8
    assert crops[:, 0, 0, 0].tolist() == [30, 10, 10, 20]
    assert geometry.crop(photos, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2, 3), 8).shape == (0, 3, 8, 8)


def test_landmarks_found_in_a_crop_are_where_they_are_in_the_photo():
    photo = np.zeros((200, 300, 3), np.uint8)
    point = (141.5, 87.5)
    photo[87, 141] = 255
    box = torch.tensor([[120.0, 70, 160, 110]])
    matrix = geometry.region_matrices(box, 150)
    crop = geometry.crop([photo], torch.tensor([0]), matrix, 150)[0, 0].numpy().astype(float)
    y, x = (np.indices(crop.shape) + 0.5) * crop / crop.sum()
    seen = torch.tensor([[[x.sum(), y.sum()]]]).float()
    back = geometry.transform(seen, geometry.invert(matrix))[0, 0]
    assert back.tolist() == pytest.approx(point, abs=0.05)
