"""One thread: the networks here are tiny, and threads that wait for each other cost more than they carry."""

import pytest
import torch

from model import checkpoint
from tests.conftest import write_tiny_checkpoint
from tests.model.evaluate.paper import archives


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Every archive in miniature below one folder."""
    return archives.build_all(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="session")
def sure_checkpoint(tmp_path_factory):
    """A tiny random network that proposes regions all over a photo and takes every one for a face."""
    path = write_tiny_checkpoint(tmp_path_factory.mktemp("sure") / "sure.safetensors", face_logit=20.0)
    loaded = checkpoint.load(path)
    proposals = loaded.part("proposals")
    proposals["out.bias"][0] = 2.0
    proposals["out.bias"][3] = 0.6  # as large as the drawn faces, so that few are left
    checkpoint.save(path, {"network": loaded.part("network"), "proposals": proposals}, loaded.config)
    return path
