"""Slimmer deep branches: the command, which channels stay, the chips they learn from, the losses."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import checkpoint
from model.mobile import Unit
from model.network import AllInOne
from model.presets import PRESETS
from model.training import train_deep_branches
from model.training.train_deep_branches import Before, Chips, DeepTasks, losses, slimmed

MOBILE = PRESETS["mobile"]
DEEP = tuple(MOBILE.deep)


@pytest.fixture
def network() -> AllInOne:
    torch.manual_seed(0)
    return AllInOne(MOBILE).eval()


def chips(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 112, 112), dtype=torch.uint8, generator=generator)


class Drawn:
    """A data set of chips of one brightness, all of the same label."""

    def __init__(self, brightness: int) -> None:
        self.brightness = brightness

    def batch(self, count: int, rng: np.random.Generator) -> dict[str, torch.Tensor]:
        labels = {name: torch.full((count,), float(self.brightness)) for name in train_deep_branches.LABELS}
        return {"crops": torch.full((count, 3, 4, 4), self.brightness, dtype=torch.uint8), **labels}


def test_the_command_writes_a_network_with_slimmer_branches(world, network, tmp_path, monkeypatch):
    path = tmp_path / "network.safetensors"
    checkpoint.save(
        path, {"network": checkpoint.inference_state(network)}, {"network": checkpoint.network_config(network)}
    )
    words = [path, "--out", tmp_path / "run", "--steps", 2, "--batch-size", 6, "--share", 0.25]
    monkeypatch.setattr(sys, "argv", ["train_deep_branches", *map(str, words)])
    monkeypatch.setattr(train_deep_branches, "MEASURED", 4)
    train_deep_branches.main()
    written = checkpoint.load(tmp_path / "run" / "network.safetensors")
    slim = checkpoint.build_network(written)
    assert slim.config == replace(MOBILE, deep_share=0.25)
    assert slim(chips(1), DEEP)["age"].shape == (1, 101)
    inner = {unit.expand.out_channels for unit in slim.deep_stages.modules() if isinstance(unit, Unit)}
    assert inner == {64, 128}
    before, after = checkpoint.load(path).part("network"), written.part("network")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if not name.startswith(("deep_stages.", "deep_heads."))} <= same


def test_channels_that_bring_nothing_are_left_out_first(network):
    units = [unit for unit in network.deep_stages.modules() if isinstance(unit, Unit)]
    for unit in units:
        unit.project.weight.data[:, ::2] = 0
    slim = slimmed(network, chips(4), 0.5).eval()
    some = chips(6)
    before, after = network(some, DEEP), slim(some, DEEP)
    for name in DEEP:
        torch.testing.assert_close(after[name], before[name], atol=1e-4, rtol=1e-4)
    assert slim.deep_stages[0].expand.weight.shape[0] == units[0].expand.weight.shape[0] // 2


def test_blends_have_no_label(monkeypatch):
    drawn = Chips([Drawn(10), Drawn(200)], [0.5, 0.5]).batch(400, np.random.default_rng(0))
    assert {name: len(values) for name, values in drawn.items()} == dict.fromkeys(
        ("crops", *train_deep_branches.LABELS), 400
    )
    brightness = drawn["crops"][:, 0, 0, 0].float()
    blended = (brightness != 10) & (brightness != 200)
    assert blended.any()
    assert drawn["age"][blended].isnan().all()
    known = ~drawn["age"].isnan()
    assert torch.equal(drawn["age"][known], brightness[known])
    assert known.float().mean() == pytest.approx(1 - train_deep_branches.BLENDED, abs=0.1)


def test_what_the_wide_branches_say_is_learnt_where_nothing_is_labelled(network):
    teacher = Before(network)

    @torch.inference_mode()
    def read(crops: torch.Tensor) -> list[np.ndarray]:
        return [values.numpy() for values in teacher(crops)]

    unlabelled = {name: torch.full((6,), torch.nan) for name in train_deep_branches.LABELS}
    batch = {"crops": chips(6), **unlabelled}
    deep = DeepTasks(slimmed(network, chips(4), 0.25))
    deep.deep_heads["age"][-1].bias.data += 2 * torch.randn(101)
    optimizer = torch.optim.Adam(deep.parameters(), 1e-2)
    with torch.no_grad():
        before = losses(deep, batch, read)
    for _ in range(20):
        optimizer.zero_grad()
        sum(losses(deep, batch, read).values()).backward()
        optimizer.step()
    answers = network(chips(6), DEEP)
    # Cross-entropy with soft answers falls to their entropy, not to zero.
    least = -(answers["age"].softmax(1) * answers["age"].log_softmax(1)).sum(1).mean() * (
        1 - train_deep_branches.LABELLED
    )
    after = losses(deep, batch, read)
    assert after["age"] - least < 0.5 * (before["age"] - least)
    assert all(torch.isfinite(value) for value in after.values())
