"""The screening network's training: its command, its batches used again, its losses."""

import sys

import numpy as np
import pytest
import torch

from model import checkpoint
from model import landmarks as markup
from model.runtime.screening import SIZE
from model.screening_network import ScreeningNetwork
from model.training import train_screening
from model.training.fit import crops_of, half_precision
from model.training.train_screening import Repeated, mirrored, placements, read_regions, screening_losses


@pytest.fixture
def batch(world):
    return read_regions(None).batch(8, np.random.default_rng(0))


def test_the_command_writes_a_part_that_goes_on_where_it_stopped(world, tmp_path, monkeypatch):
    def run(steps: int, *more: object) -> dict[str, torch.Tensor]:
        words = ["--out", tmp_path / "run", "--batch-size", 4, "--drawn", 2, "--steps", steps, *more]
        monkeypatch.setattr(sys, "argv", ["train_screening", *map(str, words)])
        train_screening.main()
        return checkpoint.load(tmp_path / "run" / "screening.safetensors").part("screening")

    np.savez(tmp_path / "hard.npz", **{"negatives/photo0.webp": np.array([[2.0, 2, 20, 20]])})
    first = run(2, "--hard", tmp_path / "hard.npz")
    ScreeningNetwork().load_state_dict(first)
    second = run(3)
    assert torch.load(tmp_path / "run" / "state.pt", weights_only=True)["step"] == 3
    assert not torch.equal(first["out.weight"], second["out.weight"])


def test_each_loss_falls_on_a_batch_seen_often(batch):
    torch.manual_seed(0)
    network = ScreeningNetwork()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    before = screening_losses(network, batch)
    for _ in range(15):
        optimizer.zero_grad()
        sum(screening_losses(network, batch).values()).backward()
        optimizer.step()
    after = screening_losses(network, batch)
    assert all(after[name] < 0.8 * before[name] for name in before)


def test_what_is_unlabelled_adds_nothing(batch):
    network = ScreeningNetwork()
    blank = batch | {
        "detection": torch.full((8,), torch.nan),
        "landmarks": torch.full((8, 21, 2), torch.nan),
    }
    blank["detection"][0] = 1.0
    losses = screening_losses(network, blank)
    assert losses["place"] == 0
    with half_precision():  # as the losses are: the processor decides
        logit = network(crops_of(batch))[0, 0].float()
    assert losses["score"].item() == pytest.approx(-torch.nn.functional.logsigmoid(logit).item(), abs=1e-5)


def test_a_mirrored_region_is_placed_on_the_other_side(batch):
    seen = placements(batch["landmarks"], batch["pose"])
    other = mirrored(batch)
    shown = placements(other["landmarks"], other["pose"])
    np.testing.assert_allclose(shown, seen * torch.tensor([-1, 1, 1, -1, 1.0]), atol=1e-5)
    assert torch.equal(other["crops"][..., 0], batch["crops"][..., SIZE - 1])
    left = markup.NAMES.index("left_eye_centre")
    right = markup.NAMES.index("right_eye_centre")
    np.testing.assert_allclose(other["landmarks"][:, left, 0], -batch["landmarks"][:, right, 0])


def test_batches_are_drawn_once_and_come_again_mirrored(batch):
    drawn = []

    def draw(size, rng):
        drawn.append(size)
        return {**batch, "detection": torch.full((8,), float(len(drawn)))}

    repeated = Repeated(draw, 2)
    rng = np.random.default_rng(0)
    first, second, third, _, fifth = (repeated.batch(8, rng) for _ in range(5))
    assert drawn == [8, 8]
    assert (first["detection"][0], second["detection"][0]) == (1, 2)
    assert torch.equal(third["crops"], first["crops"].flip(3))
    assert torch.equal(fifth["crops"], first["crops"])
