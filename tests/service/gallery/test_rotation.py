"""Rotations: exact, different for each key, the same on every machine."""

import numpy as np
import pytest

from service.gallery.rotation import Rotation


@pytest.mark.parametrize("dimension", [1, 2, 16, 128, 513])
def test_similarities_and_the_way_back_are_exact(dimension: int):
    rng = np.random.default_rng(dimension)
    vectors = rng.normal(size=(20, dimension)).astype(np.float32)
    rotation = Rotation(b"k" * 32, dimension)
    turned = rotation.apply(vectors)
    scale = np.linalg.norm(vectors, axis=1).max() ** 2
    np.testing.assert_allclose(turned @ turned.T / scale, vectors @ vectors.T / scale, atol=1e-6)
    np.testing.assert_allclose(rotation.undo(turned), vectors, atol=1e-5)


def test_another_key_is_another_rotation():
    vector = np.ones(128, np.float32) / np.sqrt(128)
    turned = [Rotation(bytes([key]) * 32, 128).apply(vector) for key in range(40)]
    cosines = np.array(turned) @ np.array(turned).T
    assert np.abs(cosines[~np.eye(40, dtype=bool)]).max() < 0.5


def test_a_key_stands_for_the_same_rotation_for_ever():
    """Values from the first version: another machine or numpy must not make another rotation."""
    turned = Rotation(bytes(range(32)), 3).apply(np.array([1, 2, 3], np.float32))
    np.testing.assert_allclose(turned, [-3.2240071, 0.9556602, 1.6408813], atol=1e-6)
