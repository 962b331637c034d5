"""The training of the second readings: its command, what it keeps of the photos, its losses."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from model import checkpoint
from model.network import AllInOne
from model.shared_heads import PART, SharedHeads
from model.training import train_shared_heads
from model.training.train_shared_heads import KeptFeatures, head_losses, new_heads
from tests.conftest import TINY

CONFIG = replace(TINY, ages=101)


@pytest.fixture
def kept() -> KeptFeatures:
    torch.manual_seed(0)
    values = 3 * torch.randn(40, 512 + 4 * CONFIG.channels[5]) + 1
    ages = torch.arange(40.0)
    ages[::4] = torch.nan
    return KeptFeatures(values, {"age": ages, "female": (values[:, 0] > 1).float()})


def test_the_command_writes_a_part_that_goes_with_its_network(world, tmp_path, monkeypatch):
    network = AllInOne(CONFIG)
    path = tmp_path / "network.safetensors"
    config = {"network": checkpoint.network_config(network)}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    words = [path, "--out", tmp_path / "run", "--steps", 2, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_shared_heads", *map(str, words)])
    train_shared_heads.main()
    heads = SharedHeads.of_weights(checkpoint.load(tmp_path / "run" / f"{PART}.safetensors").part(PART))
    assert heads.mean.abs().sum() > 0


def test_a_batch_holds_labels_of_its_faces(kept: KeptFeatures):
    batch = kept.batch(16, np.random.default_rng(3))
    assert batch["features"].shape == (16, kept.values.shape[1])
    torch.testing.assert_close(batch["female"], (batch["features"][:, 0] > 1).float())
    assert torch.equal(batch["features"], kept.batch(16, np.random.default_rng(3))["features"])


def test_what_the_heads_read_is_standardised(kept: KeptFeatures):
    heads = new_heads(AllInOne(CONFIG), kept)
    standard = (kept.values - heads.mean) / heads.deviation
    assert standard.mean(dim=0).abs().max() < 1e-5
    assert 0.9 < standard.std(dim=0).min() <= standard.std(dim=0).max() < 1.0


def test_losses_fall_and_unlabelled_faces_add_nothing(kept: KeptFeatures):
    heads = new_heads(AllInOne(CONFIG), kept)
    batch = kept.batch(32, np.random.default_rng(0))
    optimizer = torch.optim.Adam(heads.parameters(), 1e-3)
    before = head_losses(heads.eval(), batch)
    for _ in range(20):
        optimizer.zero_grad()
        sum(head_losses(heads.train(), batch).values()).backward()
        optimizer.step()
    after = head_losses(heads.eval(), batch)
    assert all(after[name] < 0.9 * before[name] for name in before)
    labelled = ~batch["age"].isnan()
    assert 0 < labelled.sum() < 32
    some = {name: values[labelled] for name, values in batch.items()}
    torch.testing.assert_close(head_losses(heads, some)["age"], after["age"])


def test_an_age_of_one_number_is_not_read_twice(kept: KeptFeatures):
    with pytest.raises(ValueError, match="chances of all ages"):
        new_heads(AllInOne(TINY), kept)
