"""The one file that ships: what is written is read again, and nothing else is."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from model import checkpoint
from model.checkpoint import CheckpointError
from model.network import AllInOne
from model.presets import NetworkConfig
from tests.conftest import TINY


def save_raw(path, tensors=None, **metadata: str):
    save_file(tensors or {"network.x": torch.zeros(1)}, path, metadata=metadata or None)
    return path


def test_what_is_saved_is_loaded(tmp_path):
    path = tmp_path / "a.safetensors"
    weight = torch.randn(4, 3)
    checkpoint.save(path, {"network": {"w": weight, "b": weight.T}, "net": {"w": weight[0]}}, {"x": [1, 2], "y": None})
    loaded = checkpoint.load(path)
    assert loaded.config == {"x": [1, 2], "y": None}
    assert set(loaded.part("network")) == {"w", "b"}
    assert torch.equal(loaded.part("network")["w"], weight.half().float())
    assert torch.equal(loaded.part("network")["b"], weight.half().float().T)
    assert torch.equal(loaded.part("net")["w"], weight[0].half().float())
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_digest_is_the_files(tmp_path, tiny_checkpoint):
    assert checkpoint.load(tiny_checkpoint).digest == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    for path, value in ((first, 1.0), (second, 2.0)):
        checkpoint.save(path, {"network": {"w": torch.tensor([value])}}, {})
    assert checkpoint.load(first).digest != checkpoint.load(second).digest
    digest = checkpoint.load(first).digest
    for _ in range(20):  # safetensors writes its metadata in any order
        checkpoint.save(first, {"network": {"w": torch.tensor([1.0])}}, {})
        assert checkpoint.load(first).digest == digest


@torch.inference_mode()
def test_a_network_comes_back_the_same(tmp_path):
    torch.manual_seed(0)
    network = AllInOne(NetworkConfig(**{**vars(TINY), "subjects": 7})).eval()
    config = {"network": checkpoint.network_config(network)}
    checkpoint.save(tmp_path / "n.safetensors", {"network": checkpoint.inference_state(network)}, config)
    back = checkpoint.build_network(checkpoint.load(tmp_path / "n.safetensors"))
    assert back.config == TINY  # without the training's subjects
    assert not back.training
    crops = torch.randint(0, 256, (2, 3, 150, 150), dtype=torch.uint8)
    network.half().float()
    expected, found = network(crops), back(crops)
    assert set(expected) - set(found) == {"identity"}
    for name in found:
        assert torch.equal(found[name], expected[name])


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        checkpoint.load(tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"\x00" * 64])
def test_not_a_safetensors_file(tmp_path, content):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"odd\.safetensors is not"):
        checkpoint.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_a_truncated_file(tmp_path, tiny_checkpoint, share):
    whole = tiny_checkpoint.read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
        checkpoint.load(tmp_path / "cut.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"format": "pt"},
        {"format": "allinone-face/999", "config": "{}"},
        {"format": checkpoint.FORMAT},
        {"format": checkpoint.FORMAT, "config": "{"},
        {"format": checkpoint.FORMAT, "config": "[]"},
    ],
)
def test_another_programs_safetensors(tmp_path, metadata):
    path = save_raw(tmp_path / "foreign.safetensors", **metadata)
    with pytest.raises(CheckpointError, match=r"foreign\.safetensors"):
        checkpoint.load(path)


def test_a_missing_part_is_named(tiny_checkpoint):
    with pytest.raises(CheckpointError, match="holds no tpe"):
        checkpoint.load(tiny_checkpoint).part("tpe")


def change(loaded: checkpoint.Checkpoint, name: str, tensor: torch.Tensor | None) -> checkpoint.Checkpoint:
    tensors = {**loaded.tensors, name: tensor}
    return dataclasses.replace(loaded, tensors={key: value for key, value in tensors.items() if value is not None})


def test_weights_that_do_not_fit(tiny_checkpoint):
    loaded = checkpoint.load(tiny_checkpoint)
    shape = loaded.tensors["network.local.fc.bias"].shape
    for broken, said in (
        (change(loaded, "network.local.fc.bias", None), "Missing key"),
        (change(loaded, "network.local.fc.bias", torch.zeros(shape[0] + 1)), "size mismatch"),
        (change(loaded, "network.surplus", torch.zeros(1)), "Unexpected key"),
    ):
        with pytest.raises(CheckpointError, match=said):
            checkpoint.build_network(broken)


@pytest.mark.parametrize(
    "fields", [{"depth": 9}, {"channels": [4, 8]}, {"local": ["nose"]}, {"trunk": None}, {"local_width": 17}]
)
def test_a_configuration_that_does_not_fit(tiny_checkpoint, fields):
    loaded = checkpoint.load(tiny_checkpoint)
    network = {k: v for k, v in {**loaded.config["network"], **fields}.items() if v is not None}
    with pytest.raises(CheckpointError):
        checkpoint.build_network(dataclasses.replace(loaded, config={"network": network}))


def test_a_file_of_proposals_alone_is_no_network(tmp_path):
    path = tmp_path / "p.safetensors"
    checkpoint.save(path, {"proposals": {"w": torch.zeros(1)}}, {})
    with pytest.raises(CheckpointError, match="no network"):
        checkpoint.build_network(checkpoint.load(path))


@pytest.mark.slow
def test_joining_on_the_command_line(tmp_path):
    for name, parts, config in (
        ("a", {"network": {"x": torch.ones(2), "old": torch.ones(1)}, "net": {"x": torch.full((1,), 5.0)}}, {"v": 1}),
        ("b", {"network": {"x": torch.zeros(3)}}, {"v": 2}),
        ("c", {"proposals": {"y": torch.ones(1)}}, {"w": 3}),
    ):
        checkpoint.save(tmp_path / name, parts, config)
    out = tmp_path / "joined.safetensors"
    command = [sys.executable, "-m", "model.checkpoint", *(str(tmp_path / n) for n in "abc"), "--out", str(out)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    joined = checkpoint.load(out)
    assert joined.digest in said
    assert joined.config == {"v": 2, "w": 3}
    assert {name: tensor.tolist() for name, tensor in joined.tensors.items()} == {
        "network.x": [0, 0, 0],  # the later network as a whole, nothing left of the earlier
        "net.x": [5],
        "proposals.y": [1],
    }


def test_the_header_is_readable_without_torch(tiny_checkpoint):
    raw = tiny_checkpoint.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert json.loads(header["__metadata__"]["config"])["preset"] == "tiny"
