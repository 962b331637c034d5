"""A tiny random checkpoint that every area can run the whole pipeline with."""

import re
from functools import cache
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from xdist.remote import Producer
from xdist.scheduler import WorkStealingScheduling

from model import checkpoint, geometry, landmarks
from model.network import AllInOne
from model.presets import NetworkConfig
from model.proposal_network import ProposalNetwork

hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)  # a busy machine takes longer for some examples
hypothesis.settings.load_profile("patient")

TINY = NetworkConfig(
    trunk="residual",
    input_size=150,
    channels=(4, 8, 8, 8, 8, 8, 8),
    local=("detection", "landmarks", "visibility", "pose"),
    deep=("gender", "age", "smile"),
    identity=True,
    deep_stages=3,
    tap_width=8,
    fuse_width=8,
    fuse_blocks=1,
    local_width=16,
    head_width=8,
    deep_widths=(8, 8),
    identity_width=0,
)
"""The topology that ships, a few channels wide."""


ALL_SLOW = re.compile(r"^pytestmark = (\[.*)?pytest\.mark\.slow\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import a file all of whose tests are slow where slow ones are left out: imports take seconds."""
    if config.option.markexpr != "not slow":
        return None
    if collection_path.is_dir():
        files = list(collection_path.rglob("test_*.py"))
        return True if files and all(_is_slow(file) for file in files) else None
    return True if collection_path.suffix == ".py" and _is_slow(collection_path) else None


@cache
def _is_slow(file: Path) -> bool:
    return ALL_SLOW.search(file.read_text()) is not None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> WorkStealingScheduling | None:
    """Give each process files in a row, so that few fixtures are made twice, and let idle ones take from the others."""
    return WorkStealingScheduling(config, log) if config.getvalue("dist") == "load" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give a test the same random numbers whichever tests ran before it in its process."""
    torch.manual_seed(0)


def write_tiny_checkpoint(path: Path, face_logit: float = 4.0, seed: int = 0) -> Path:
    """A checkpoint with random weights that takes most regions for faces (for none with a very negative logit).

    Its landmarks are the canonical face in the region, moved a little by the pixels.
    """
    torch.manual_seed(seed)
    network, proposals = AllInOne(TINY), ProposalNetwork()
    canonical = torch.from_numpy(landmarks.CANONICAL)
    low, high = geometry.box_from_landmarks(canonical[None])[0].view(2, 2)
    with torch.no_grad():
        network.local_heads["detection"][-1].bias.copy_(torch.tensor([0.0, face_logit]))
        network.local_heads["landmarks"][-1].bias.copy_(((canonical - (low + high) / 2) / (high - low)).flatten())
        proposals.out.bias[0] = 0.0
    config = {"network": checkpoint.network_config(network), "preset": "tiny"}
    parts = {"network": checkpoint.inference_state(network), "proposals": proposals.state_dict()}
    checkpoint.save(path, parts, config)
    return path


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a tiny random checkpoint, network and proposals."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


@pytest.fixture(scope="session")
def faceless_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but nothing is a face to it."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "faceless.safetensors", face_logit=-20.0)


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """A photo of nothing, uint8 [96, 128, 3]: blobs of random colour."""
    rng = np.random.default_rng(0)
    return np.repeat(np.repeat(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), 8, axis=0), 8, axis=1)
