"""Crops through one network on one device: chunks, padding, order."""

import pytest
import torch

from model.inference import CHUNK, Inference, pad
from model.network import AllInOne
from tests.conftest import TINY

WANTED = ("detection", "landmarks", "age", "descriptor")


@pytest.fixture(scope="module")
def read():
    torch.manual_seed(0)
    return Inference(AllInOne(TINY).eval(), "cpu")


def crops(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, TINY.input_size, TINY.input_size), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("count", [1, 3, CHUNK, CHUNK + 1])
def test_each_crop_is_read_as_if_it_were_alone(read, count):
    some = crops(count)
    together, alone = read(some, WANTED), read(some[-1:], WANTED)
    for name in WANTED:
        assert len(together[name]) == count
        torch.testing.assert_close(together[name][-1:], alone[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("count", "whole"), [(1, 1), (2, 2), (3, 4), (5, 8), (33, 64), (64, 64)])
def test_padding_goes_to_the_next_power_of_two_and_changes_no_answer(read, count, whole):
    some = crops(count)
    padded = pad(some)
    assert len(padded) == whole
    assert torch.equal(padded[:count], some)
    assert not padded[count:].any()
    if count < 9:
        torch.testing.assert_close(read(padded, WANTED)["age"][:count], read(some, WANTED)["age"], atol=1e-4, rtol=1e-4)


def test_warm_up_leaves_no_trace(read):
    before = read(crops(2), WANTED)
    read.warm_up(WANTED)
    after = read(crops(2), WANTED)
    assert all(torch.equal(before[name], after[name]) for name in WANTED)
