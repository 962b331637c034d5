"""Branches trained apart are joined, and only where their trunks are the same."""

import sys

import pytest
import torch

from model import checkpoint
from model.network import AllInOne
from model.presets import PRESETS
from model.tools import graft


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two networks of one trunk and different branches, and their files."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    local = AllInOne(PRESETS["mobile"])
    deep = AllInOne(PRESETS["mobile"])
    deep.stages.load_state_dict(local.stages.state_dict())
    assert deep.identity is not None
    assert local.identity is not None
    deep.identity.load_state_dict(local.identity.state_dict())
    paths = []
    for name, network in (("local", local), ("deep", deep)):
        paths.append(folder / f"{name}.safetensors")
        config = {
            "network": checkpoint.network_config(network),
            "preset": "mobile",
            "step": 7,
            "recipe": {"name": name},
        }
        checkpoint.save(paths[-1], {"network": network.state_dict()}, config)
    return paths


@pytest.mark.slow
def test_the_deep_branches_are_the_other_networks_and_all_else_stays(checkpoints):
    local, deep = map(checkpoint.load, checkpoints)
    joined = graft.graft(local, deep)
    assert set(joined) == set(local.part("network"))
    for name, tensor in joined.items():
        source = deep if name.startswith(("deep_stages.", "deep_heads.")) else local
        torch.testing.assert_close(tensor, source.part("network")[name], rtol=0, atol=0)
    assert not torch.equal(joined["deep_heads.age.1.weight"], local.part("network")["deep_heads.age.1.weight"])
    assert not torch.equal(joined["local.fc.weight"], deep.part("network")["local.fc.weight"])


def test_the_command_writes_a_network_that_says_where_its_parts_come_from(checkpoints, tmp_path, monkeypatch, capsys):
    out = tmp_path / "joined.safetensors"
    monkeypatch.setattr(sys, "argv", ["graft", str(checkpoints[0]), "--deep", str(checkpoints[1]), "--out", str(out)])
    assert graft.main() == 0
    loaded = checkpoint.load(out)
    assert loaded.digest in capsys.readouterr().out
    assert loaded.config["runs"]["deep"]["recipe"] == {"name": "deep"}
    assert loaded.config["runs"]["local"]["step"] == 7
    with torch.no_grad():
        outputs = checkpoint.build_network(loaded)(torch.zeros(1, 3, 112, 112))
    assert outputs["age"].shape == (1, 101)


def test_another_trunk_is_refused(checkpoints, tmp_path, monkeypatch, capsys):
    local = checkpoint.load(checkpoints[0])
    network = checkpoint.build_network(checkpoint.load(checkpoints[1]))
    with torch.no_grad():
        network.stages[4][0].expand.weight[0, 0] += 1
    other = tmp_path / "other.safetensors"
    checkpoint.save(other, {"network": network.state_dict()}, checkpoint.load(checkpoints[1]).config)
    with pytest.raises(ValueError, match=r"not the same trunk: stages\.4\.0\.expand\.weight"):
        graft.graft(local, checkpoint.load(other))
    monkeypatch.setattr(sys, "argv", ["graft", str(checkpoints[0]), "--deep", str(other), "--out", str(tmp_path / "x")])
    assert graft.main() == 1
    assert "not the same trunk" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_another_shape_is_refused(checkpoints, tmp_path):
    other = tmp_path / "residual.safetensors"
    network = AllInOne(PRESETS["residual"])
    config = {"network": checkpoint.network_config(network), "preset": "residual"}
    checkpoint.save(other, {"network": network.state_dict()}, config)
    with pytest.raises(ValueError, match="different shapes"):
        graft.graft(checkpoint.load(checkpoints[0]), checkpoint.load(other))
