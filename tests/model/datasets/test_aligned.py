"""Aligned faces and their labels, and what augmentation does to a crop."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model import landmarks
from model.datasets import Sample
from model.datasets.aligned import GEOMETRY, AlignedFaces, age_chances
from model.datasets.augment import degrade, jitter_matrix
from tests.model.conftest import LABELS, SIZE, assert_dots, colour

# --- aligned faces ---


def test_aligned_chips_are_the_canonical_face(drawn):
    faces, _, store = drawn
    loader = AlignedFaces(faces, store, SIZE, LABELS, {"0": 0, "2": 1})
    batch = loader.exact([0, 3, 5])
    for crop in batch["crops"]:
        assert_dots(crop, landmarks.CANONICAL * SIZE, mirrored=False)
    assert batch["age"].tolist() == [20, 50, 70]
    assert batch["female"].tolist() == [0, 1, 1]
    assert batch["subject"].tolist() == [0, -1, 1]
    assert batch["person"].tolist() == [0, 1, 2]
    torch.testing.assert_close(batch["embedding"][1], torch.from_numpy(faces[3].embedding))
    assert set(batch) == {"crops", *LABELS, "person"}


def test_only_the_asked_labels_are_in_the_batch(drawn):
    faces, _, store = drawn
    batch = AlignedFaces(faces, store, SIZE, ("smile",)).batch(3, np.random.default_rng(0))
    assert set(batch) == {"crops", "smile"}
    assert batch["smile"].isnan().all()


def test_a_face_without_embedding_is_nan(drawn):
    faces, _, store = drawn
    loader = AlignedFaces([dataclasses.replace(faces[0], embedding=None)], store, SIZE, ("embedding",))
    assert loader.exact([0])["embedding"].isnan().all()


def test_half_of_the_draws_are_mirrored(drawn):
    faces, _, store = drawn
    batch = AlignedFaces(faces, store, SIZE, ("age",), jitter=0.0).batch(120, np.random.default_rng(0))
    x, y = (landmarks.CANONICAL[12] * SIZE).astype(int)  # the left ear's dot is the right's when mirrored
    pixels = batch["crops"][:, :, y, x].int()
    is_left = (pixels - torch.tensor(colour(12))).abs().amax(dim=1) < 40
    is_right = (pixels - torch.tensor(colour(16))).abs().amax(dim=1) < 40
    assert (is_left ^ is_right).all()
    assert is_left.float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_no_face_to_align(drawn):
    faces, _, store = drawn
    with pytest.raises(ValueError, match="no sample with landmarks"):
        AlignedFaces([dataclasses.replace(faces[0], landmarks=None)], store, SIZE, ("age",))


def test_rare_ages_come_up_more_often():
    def aged(*ages: float) -> list[Sample]:
        return [Sample("utkface", "", Path(), "train", age=age) for age in ages]

    samples = aged(*[25.0] * 90, *[80.0] * 10)
    chances = age_chances(samples, 1.0)
    assert chances.sum() == pytest.approx(1)
    assert chances[-1] / chances[0] == pytest.approx(9, rel=1e-3)
    assert age_chances(samples, 0.5)[-1] / age_chances(samples, 0.5)[0] == pytest.approx(3, rel=1e-3)


# --- augmentation ---


def test_jitter_keeps_the_centre_and_turns_clockwise():
    for seed in range(5):
        matrix = jitter_matrix(100, np.random.default_rng(seed), 10, 0.1, 0)
        np.testing.assert_allclose(matrix @ (50, 50, 1), (50, 50, 1))
        assert np.linalg.det(matrix) > 0
    np.testing.assert_allclose(jitter_matrix(100, np.random.default_rng(0), 0, 0, 0), np.eye(3), atol=1e-12)


def test_degrading_keeps_shape_and_leaves_the_original():
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = crop.copy()
    changed = 0
    for seed in range(60):
        out = degrade(crop, np.random.default_rng(seed))
        assert out.shape == crop.shape
        assert out.dtype == np.uint8
        changed += not np.array_equal(out, crop)
    assert changed > 40
    np.testing.assert_array_equal(crop, before)


def test_what_a_chip_shows_of_the_face_follows_from_how_it_was_cut():
    points = (landmarks.CANONICAL * 80 + 10).astype(np.float32)
    visibility = np.linspace(0, 1, 21)
    sample = Sample("drawn", "0", Path(), "train", landmarks=points, visibility=visibility, pose=np.array([5.0, 3, 7]))
    cosine, sine = np.cos(np.deg2rad(30)), np.sin(np.deg2rad(30))
    turned = np.array([[cosine, -sine, 4.0], [sine, cosine, 9.0]])
    np.testing.assert_allclose(GEOMETRY["pose"](sample, turned), [35, 3, 7], atol=1e-6)
    np.testing.assert_allclose(GEOMETRY["landmarks"](sample, turned)[0], turned[:, :2] @ points[0] + (4, 9), rtol=1e-5)
    mirrored = np.array([[-1.0, 0, 100], [0, 1, 0]]) @ np.vstack([turned, (0, 0, 1)])
    np.testing.assert_allclose(GEOMETRY["pose"](sample, mirrored), [-35, 3, -7], atol=1e-6)
    left_brow = turned[:, :2] @ points[0] + (4, 9)
    right_brow = GEOMETRY["landmarks"](sample, mirrored)[5]
    np.testing.assert_allclose(right_brow, (100 - left_brow[0], left_brow[1]), rtol=1e-5)
    assert GEOMETRY["visibility"](sample, mirrored)[5] == visibility[0]
    assert GEOMETRY["visibility"](sample, turned)[0] == visibility[0]
    unlabelled = dataclasses.replace(sample, landmarks=None, visibility=None, pose=None)
    assert all(np.isnan(show(unlabelled, turned)).all() for show in GEOMETRY.values())


def test_chips_come_with_their_landmarks_and_pose(drawn):
    faces, _, store = drawn
    loader = AlignedFaces(faces, store, SIZE, ("landmarks", "pose", "visibility"), jitter=0.0)
    batch = loader.batch(20, np.random.default_rng(0))
    assert batch["pose"].shape == (20, 3)
    assert batch["visibility"].shape == (20, 21)
    for crop, points in zip(batch["crops"], batch["landmarks"], strict=True):
        x, y = points[14].round().int().tolist()  # the nose's tip, whose dot is its own in a mirror
        assert (crop[:, y, x].int() - torch.tensor(colour(14))).abs().max() < 60
