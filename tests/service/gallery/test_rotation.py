"""Rotations: exact, different for each key, the same on every machine."""

import secrets
import time
from concurrent.futures import ThreadPoolExecutor

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


def test_threads_that_need_a_matrix_at_once_make_it_once(monkeypatch: pytest.MonkeyPatch):
    made, qr = list[int](), np.linalg.qr

    def slow_qr(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        made.append(len(matrix))
        time.sleep(0.05)
        return qr(matrix)

    monkeypatch.setattr(np.linalg, "qr", slow_qr)
    key = secrets.token_bytes(32)
    with ThreadPoolExecutor(4) as crowd:
        rotated = list(crowd.map(lambda _: Rotation(key, 16).apply(np.ones(16, np.float32)), range(4)))
    assert made == [16]
    assert all(np.array_equal(rotated[0], each) for each in rotated)
