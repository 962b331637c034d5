"""Which lengths of descriptors are found, and that a checkpoint takes them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint
from model.datasets import Sample
from model.datasets.aligned import AlignedFaces
from model.network import AllInOne
from model.presets import PRESETS
from model.runtime.second_pass import MIRROR_LENGTHS
from model.tools import measure_lengths
from model.tools.measure_lengths import CHUNK, descriptor_lengths

FACES = CHUNK + 2
SIDE = 112


class Noise:
    """A photo of noise for each sample, by its name."""

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return np.random.default_rng(int(sample.name)).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def test_lengths_are_those_of_the_network_s_descriptors():
    torch.manual_seed(0)
    network = AllInOne(PRESETS["mobile"]).eval()
    samples = [Sample("drawn", str(index), Path(f"{index}.png"), "val") for index in range(FACES)]
    faces = AlignedFaces(samples, Noise(), SIDE, (), matrices=np.tile(np.eye(2, 3), (FACES, 1, 1)), frame="arcface")
    with torch.no_grad():
        expected = network(faces.exact(range(FACES))["crops"], ["descriptor"])["descriptor"].norm(dim=1)
    np.testing.assert_allclose(descriptor_lengths(network, faces), expected.numpy(), rtol=1e-3)


@pytest.mark.slow
def test_the_command_writes_lengths_that_a_checkpoint_takes(world, tmp_path: Path, monkeypatch, capsys):
    network = AllInOne(PRESETS["mobile"]).eval()
    weights, measured, joined = (tmp_path / f"{name}.safetensors" for name in ("network", "lengths", "joined"))
    config = {"network": checkpoint.network_config(network), "preset": "mobile"}
    checkpoint.save(weights, {"network": checkpoint.inference_state(network)}, config)
    monkeypatch.setattr(sys, "argv", ["measure_lengths", str(weights), "--out", str(measured)])
    measure_lengths.main()
    monkeypatch.setattr(sys, "argv", ["checkpoint", str(weights), str(measured), "--out", str(joined)])
    checkpoint.main()
    loaded = checkpoint.load(joined)
    low, high = loaded.config[MIRROR_LENGTHS]
    assert 0 < low <= high
    assert f"{low} and {high}" in capsys.readouterr().out
    assert checkpoint.build_network(loaded).config == network.config
