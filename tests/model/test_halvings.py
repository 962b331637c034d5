"""Crops from halvings: where they lie, how near they come to averages by area, photos of any shape."""

import numpy as np
import pytest

from model import warps
from model.halvings import Halvings, halve


def smooth_photo(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width] / 40
    return np.stack([128 + 100 * np.sin(x + c) * np.cos(y - c) for c in range(3)], axis=-1).astype(np.uint8)


def scaled(scale: float, x: float = 0.0, y: float = 0.0, turn: float = 0.0) -> np.ndarray:
    """The map that takes the photo's point (x, y) to the middle of a crop of 48 pixels."""
    cosine, sine = scale * np.cos(np.deg2rad(turn)), scale * np.sin(np.deg2rad(turn))
    linear = np.array([[cosine, -sine], [sine, cosine]])
    return np.column_stack([linear, 24 - linear @ (x, y)])


def test_halves_are_means_and_an_odd_end_is_left_out():
    photo = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    expected = photo[:4, :6].reshape(2, 2, 3, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(halve(photo), expected, atol=0.5)


@pytest.mark.parametrize("turn", [0.0, 33.0, 180.0])
@pytest.mark.parametrize("scale", [2.0, 0.6, 0.21, 0.1, 0.037])
def test_a_crop_shows_what_the_exact_one_shows(scale: float, turn: float):
    photo = smooth_photo(1201, 1603)
    matrix = scaled(scale, 800, 600, turn)
    difference = np.abs(Halvings(photo).crop(matrix, 48).astype(int) - warps.warp(photo, matrix, 48))
    assert difference.mean() < 1
    assert np.quantile(difference, 0.98) <= 4


@pytest.mark.parametrize("factor", [1, 2, 4, 16])
def test_shrinking_by_powers_of_two_averages_noise_by_area(factor: int):
    photo = np.random.default_rng(0).integers(0, 256, (48 * factor, 48 * factor, 3), dtype=np.uint8)
    mean = photo.reshape(48, factor, 48, factor, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(Halvings(photo).crop(scaled(1 / factor, *[24 * factor] * 2), 48), mean, atol=1.5)


def test_the_order_of_the_crops_changes_nothing():
    halvings = Halvings(smooth_photo(400, 600))
    small, large = scaled(0.5, 300, 200), scaled(0.1, 300, 200)
    first = halvings.crop(small, 48)
    np.testing.assert_array_equal(halvings.crop(large, 48), Halvings(smooth_photo(400, 600)).crop(large, 48))
    np.testing.assert_array_equal(halvings.crop(small, 48), first)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (3, 2)])
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.05, 1.0, np.nan, np.inf])
def test_photos_and_maps_of_any_shape(shape: tuple[int, int], scale: float):
    photo = np.full((*shape, 3), 200, np.uint8)
    with np.errstate(invalid="ignore"):
        found = Halvings(photo).crop(scaled(scale, shape[1] / 2, shape[0] / 2), 48)
    assert found.shape == (48, 48, 3)
    assert found.max() <= 200
