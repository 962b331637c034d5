"""Which mirror images are looked at, and what they change."""

import numpy as np
import pytest

from model.runtime.engines.protocol import CHIP_POSE, Outputs
from model.runtime.second_pass import SecondPass, mean_descriptors, mirror_lengths_of, mirror_weights, undecided, unit
from model.warps import Image

LENGTHS = (2.0, 4.0)
SIDE = 4


class Drawn:
    """An engine whose descriptor is twice the first pixel's first two colours along two axes; mirrored, the last's."""

    def __init__(self, *, second: bool, chance: float = 0.9) -> None:
        self.second = second
        self.chance = chance
        self.mirrored: list[int] = []

    def describe(self, chips: Image) -> Outputs:
        count = len(chips)
        outputs = {name: np.full(count, self.chance, np.float32) for name in ("smile", "gender", "age")}
        outputs["descriptor"] = _descriptors(chips)
        if self.second:
            outputs |= {name: np.full(count, 0.1, np.float32) for name in ("second_smile", "second_gender")}
            outputs[CHIP_POSE] = np.zeros((count, 3), np.float32)
        return outputs

    def mirror(self, chips: Image) -> Outputs:
        self.mirrored.append(len(chips))
        outputs = {"descriptor": 7 * _descriptors(chips[:, :, ::-1])}
        if self.second:
            outputs |= {name: np.full(len(chips), 0.3, np.float32) for name in ("second_smile", "second_gender")}
        return outputs


def _descriptors(chips: Image) -> np.ndarray:
    return chips[:, 0, 0, :2].astype(np.float32)


def chips(*firsts: tuple[int, int]) -> Image:
    """Chips whose first pixel is as given; the last of its row is (0, 3)."""
    drawn = np.zeros((len(firsts), SIDE, SIDE, 3), np.uint8)
    drawn[:, 0, 0, :2] = firsts
    drawn[:, 0, -1, :2] = (0, 3)
    return drawn


def test_without_lengths_every_mirror_image_counts_as_much_as_its_chip():
    engine = Drawn(second=False)
    outputs = SecondPass(engine, None)(chips((1, 0), (9, 0)))  # type: ignore[arg-type]
    half = np.sqrt(0.5)
    np.testing.assert_allclose(outputs["descriptor"], [[half, half]] * 2, atol=1e-6)
    assert engine.mirrored == [2]
    assert set(outputs) == {"smile", "gender", "age", "descriptor"}


def test_mirror_images_of_long_descriptors_are_not_looked_at():
    engine = Drawn(second=True)
    outputs = SecondPass(engine, LENGTHS)(chips((9, 0), (1, 0), (3, 0), (4, 0)))  # type: ignore[arg-type]
    assert engine.mirrored == [2]
    found = outputs["descriptor"]
    np.testing.assert_allclose(found[[0, 3]], [[1, 0], [1, 0]], atol=1e-6)
    np.testing.assert_allclose(found[1:3], unit(np.array([[1, 1], [1, 0.5]], np.float32)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for name in ("smile", "gender"):  # half of the second reading is the mirror image's, by its weight
        np.testing.assert_allclose(outputs[name], [0.9, 1.0, 0.95, 0.9], atol=1e-6)
    np.testing.assert_allclose(outputs["age"], 0.9)
    assert set(outputs) == {"smile", "gender", "age", "descriptor", CHIP_POSE}


@pytest.mark.parametrize(("chance", "weight"), [(0.5, 1), (0.31, 1), (0.275, 0.5), (0.2, 0), (0.725, 0.5), (0.99, 0)])
def test_mirror_images_also_count_for_what_is_undecided(chance: float, weight: float):
    engine = Drawn(second=True, chance=chance)
    outputs = SecondPass(engine, LENGTHS)(chips((9, 0)))  # type: ignore[arg-type]
    assert engine.mirrored == ([1] if weight else [])
    for name in ("smile", "gender"):
        np.testing.assert_allclose(outputs[name], chance + weight * 0.1, atol=1e-6)
    np.testing.assert_allclose(outputs["descriptor"], [[1, 0]], atol=1e-6)
    np.testing.assert_allclose(undecided(np.array([chance], np.float32)), weight, atol=1e-5)


def test_no_mirror_image_at_all():
    engine = Drawn(second=True)
    SecondPass(engine, LENGTHS)(chips((9, 0)))  # type: ignore[arg-type]
    assert engine.mirrored == []


def test_weights_fade_so_that_last_digits_change_nothing():
    weights = mirror_weights(np.array([0, 2, 2.5, 3.999, 4, 4.001, 50], np.float32), LENGTHS)
    np.testing.assert_allclose(weights, [1, 1, 0.75, 0.0005, 0, 0, 0], atol=1e-6)
    assert mirror_weights(np.array([0.1, 99], np.float32), None).tolist() == [1, 1]


def test_lengths_of_a_checkpoint():
    assert mirror_lengths_of({}) is None
    assert mirror_lengths_of({"mirror_lengths": [2, 4.5]}) == (2.0, 4.5)


@pytest.mark.parametrize("unfit", [None, 3, "x3", [1], [1, 2, 3], [2, 1], [-1, 2], [1, "x"], [1, float("nan")], {}])
def test_lengths_that_are_none(unfit: object):
    with pytest.raises(ValueError, match="two lengths"):
        mirror_lengths_of({"mirror_lengths": unfit})


@pytest.mark.parametrize("length", [1e-3, 1.0, 1e3])
def test_lengths_of_descriptors_do_not_weigh(length: float):
    of_chips = np.array([[3, 4]], np.float32)
    found = mean_descriptors(of_chips, length * np.array([[4, 3]], np.float32), np.ones(1, np.float32))
    np.testing.assert_allclose(found, [[np.sqrt(0.5)] * 2], atol=1e-6)


def test_a_descriptor_of_nothing_stays_nothing():
    engine = Drawn(second=False)
    outputs = SecondPass(engine, LENGTHS)(chips((0, 0)))  # type: ignore[arg-type]
    np.testing.assert_allclose(outputs["descriptor"], [[0, 1]], atol=1e-6)
    assert unit(np.zeros((1, 2), np.float32)).tolist() == [[0, 0]]
