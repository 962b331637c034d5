"""Crops through one network on one device: chunks, padding, order."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from model.network import AllInOne
from model.proposal_network import ProposalNetwork
from model.runtime import passes
from model.runtime.engines.pytorch import send_pixels
from model.runtime.inference import CHUNK, Inference, pad
from model.tasks import TASKS
from tests.conftest import TINY

EVERYTHING = (*(name for name in TASKS if name != "identity"), "descriptor")


@pytest.fixture(scope="module")
def read():
    torch.manual_seed(0)
    return Inference(AllInOne(TINY).eval(), "cpu")


def crops(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, TINY.input_size, TINY.input_size), dtype=torch.uint8, generator=generator)


def everything(network: AllInOne, some: torch.Tensor) -> dict[str, torch.Tensor]:
    """A pass that reads all there is."""
    return passes.read(network(some, EVERYTHING))


PASSES = (passes.detect, passes.describe, passes.mirror, everything)


@pytest.mark.parametrize("count", [1, 3, CHUNK, CHUNK + 1])
@pytest.mark.parametrize("which", PASSES)
def test_each_crop_is_read_as_if_it_were_alone(read, which, count):
    some = crops(count)
    together, alone = read(which, some), read(which, some[-1:])
    for name in alone:
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
        first, second = read(passes.describe, padded), read(passes.describe, some)
        torch.testing.assert_close(first["age"][:count], second["age"], atol=1e-4, rtol=1e-4)


def test_warm_up_leaves_no_trace(read):
    before = read(everything, crops(2))
    read.warm_up(passes.describe)
    after = read(everything, crops(2))
    assert all(torch.equal(before[name], after[name]) for name in EVERYTHING)


def on_cuda(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The network with parameters that are on a device that is not there: PyTorch's fake tensors have no values."""
    for part in network.modules():
        for name, value in part.named_parameters(recurse=False):
            setattr(part, name, nn.Parameter(torch.empty(value.shape, device="cuda:0", dtype=dtype), False))
    network.to = lambda *_, **__: network
    return network


def sliced(tensor: torch.Tensor, places: object) -> torch.Tensor:
    """Indexing, which wants a real device where all else does not."""
    if not isinstance(tensor, FakeTensor) or tensor.device.type == "cpu":
        return index(tensor, places)
    assert not any(isinstance(place, torch.Tensor) for place in (places if isinstance(places, tuple) else (places,)))
    shape = index(torch.empty(tensor.shape), places).shape
    return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)


index = torch.Tensor.__getitem__


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_no_operation_mixes_devices_or_dtypes_on_cuda(monkeypatch, dtype):
    """Stands in for a GPU: every operation is checked as it would be there, without being computed."""
    monkeypatch.setattr(torch.Tensor, "__getitem__", sliced)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    network, proposals = AllInOne(replace(TINY, ages=101)).eval(), ProposalNetwork()
    with FakeTensorMode(), torch.no_grad():
        with pytest.raises(RuntimeError, match="device"):
            torch.empty(1, device="cuda:0") + torch.empty(2)
        read = Inference(on_cuda(network, dtype), "cuda:0", dtype)
        for which, count in itertools.product(PASSES, (1, 5, CHUNK + 1)):
            crops = torch.zeros(count, 3, TINY.input_size, TINY.input_size, dtype=torch.uint8)
            for output in read(which, crops).values():
                assert (len(output), output.device.type, output.dtype) == (count, "cpu", torch.float32)
        [maps] = send_pixels(on_cuda(proposals, torch.float32), read.device, [np.zeros((2, 64, 96, 3), np.uint8)])
        assert (maps.device.type, maps.shape) == ("cuda", (2, 4, 8, 12))
