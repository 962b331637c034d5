"""The training of smaller regions: its command, the weights it starts from, its batches and losses."""

import sys

import numpy as np
import pytest
import torch

from model import checkpoint, tasks
from model.datasets.mixture import training_regions
from model.network import AllInOne
from model.presets import PRESETS
from model.training import train_first_pass
from model.training.train_first_pass import REGIONS, LocalTasks, losses, mirrored, smaller, taught, with_region_side

MOBILE = PRESETS["mobile"]


@pytest.fixture
def network() -> AllInOne:
    torch.manual_seed(0)
    return AllInOne(MOBILE).eval()


@pytest.fixture
def batch(world, network):
    """Regions of 112 pixels with what the network says of them."""

    @torch.inference_mode()
    def teach(crops: torch.Tensor) -> dict[str, torch.Tensor]:
        return network(crops, MOBILE.local)

    return taught(training_regions(REGIONS, 112, None).batch, teach)(8, np.random.default_rng(0))


def test_the_command_writes_a_network_that_reads_smaller_regions(world, network, tmp_path, monkeypatch):
    path = tmp_path / "network.safetensors"
    config = {"network": checkpoint.network_config(network), "preset": "mobile"}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    words = [path, "--out", tmp_path / "run", "--steps", 2, "--batch-size", 4, "--drawn", 1, "--side", 64]
    monkeypatch.setattr(sys, "argv", ["train_first_pass", *map(str, words)])
    train_first_pass.main()
    written = checkpoint.load(tmp_path / "run" / "network.safetensors")
    taught_network = checkpoint.build_network(written)
    assert (taught_network.config.region_side, taught_network.config.input_size) == (64, 112)
    assert written.config["preset"] == "mobile"
    assert taught_network(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), MOBILE.local)["landmarks"].shape == (1, 42)
    before, after = checkpoint.load(path).part("network"), written.part("network")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "local.fc.weight" in changed
    assert all(name.startswith(("local.", "local_heads.")) for name in changed), "trunk and other branches stay"


def test_regions_of_the_same_side_are_read_as_before(network):
    crops = torch.randint(0, 256, (2, 3, 112, 112), dtype=torch.uint8)
    before = network(crops, MOBILE.local)
    after = with_region_side(network, 112).eval()(crops, MOBILE.local)
    for name, values in before.items():
        torch.testing.assert_close(after[name], values, atol=1e-5, rtol=1e-5)


def test_smaller_regions_are_read_nearly_as_before_at_the_start(network):
    """The maps of an even grey hold about the same in each cell, however many cells there are."""
    sizes = (112, 80)
    before, after = (
        model.eval()(torch.full((1, 3, size, size), 90, dtype=torch.uint8), ("landmarks",))["landmarks"]
        for size, model in zip(sizes, (network, with_region_side(network, 80)), strict=True)
    )
    assert (before - after).abs().mean() < 0.3 * before.abs().mean()


def test_other_trunks_read_regions_of_their_own_size_alone():
    with pytest.raises(ValueError, match="residual"):
        with_region_side(AllInOne(PRESETS["residual"]), 80)


def test_labels_and_answers_are_mirrored_together(batch, network):
    other = mirrored(batch)
    twice = mirrored(other)
    assert all(torch.equal(twice[name].nan_to_num(), batch[name].nan_to_num()) for name in batch)
    assert torch.equal(other["crops"][..., 0], batch["crops"][..., -1])
    assert torch.equal(other["taught_pose"][:, 1:3], batch["taught_pose"][:, 1:3])
    assert torch.equal(other["taught_pose"][:, 3], -batch["taught_pose"][:, 3])
    chin = -1
    x = batch["taught_landmarks"].view(-1, 21, 2)[:, chin, 0]
    assert torch.equal(other["taught_landmarks"].view(-1, 21, 2)[:, chin, 0], -x)


def test_regions_get_smaller_and_show_the_same():
    crops = torch.zeros(3, 3, 112, 112, dtype=torch.uint8)
    crops[:, 0, :56] = 200
    shown = smaller(crops, 80, np.random.default_rng(0))
    assert shown.shape == (3, 3, 80, 80)
    assert (shown[:, 0, :39] == 200).all()
    assert not shown[:, 0, 41:].any()


def test_the_teacher_says_nothing_of_the_landmarks_of_what_is_no_face(batch, network, monkeypatch):
    monkeypatch.setattr(train_first_pass, "LABELLED", 0.0)
    local = LocalTasks(network)
    no_face = batch | {"taught_detection": torch.tensor([[9.0, -9.0]]).repeat(8, 1)}

    def trunk(crops: torch.Tensor) -> list[torch.Tensor]:
        return network.trunk(crops, 5)

    of_none = losses(local, no_face, trunk)
    assert not any(of_none[name].item() for name in ("landmarks", "pose", "visibility"))
    face = batch | {"taught_detection": torch.tensor([[-9.0, 9.0]]).repeat(8, 1)}
    face["taught_landmarks"] = face["taught_landmarks"] + 0.1
    of_face = losses(local, face, trunk)
    assert of_face["landmarks"] > 0
    assert of_face["pose"].item() == pytest.approx(0, abs=1e-3)
    chance = tasks.read_class(local(trunk(batch["crops"]))["detection"])
    assert of_face["detection"].item() == pytest.approx(-chance.log().mean().item(), abs=0.02)
