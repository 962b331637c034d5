"""The training of the second readings: its command, what it keeps of the photos, its losses."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint, landmarks
from model.boxes import rotations
from model.datasets import Sample
from model.network import AllInOne
from model.shared_heads import PART, SharedHeads
from model.training import train_shared_heads
from model.training.train_shared_heads import KeptFeatures, head_losses, keep_features, new_heads
from tests.conftest import TINY

CONFIG = replace(TINY, ages=101)


class ByName:
    """Photos by their samples' names."""

    def __init__(self, photos: dict[str, np.ndarray]) -> None:
        self.photos = photos

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.photos[sample.name]


@pytest.fixture
def kept() -> KeptFeatures:
    torch.manual_seed(0)
    values = 3 * torch.randn(40, 512 + 4 * CONFIG.channels[5]) + 1
    ages = torch.arange(40.0)
    ages[::4] = torch.nan
    poses = 10 * values[:, :3]
    poses[1::5] = torch.nan
    return KeptFeatures(values, {"age": ages, "female": (values[:, 0] > 1).float(), "pose": poses})


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
    kept = torch.load(tmp_path / "run" / "features.pt", weights_only=True)
    assert kept["values"].shape == (len(kept["age"]), len(heads.mean))


def test_the_roll_that_is_learnt_is_what_the_chip_leaves_of_it():
    """A face whose landmarks lie turned by its roll is upright in its chip."""
    photo = np.zeros((200, 200, 3), np.uint8)
    samples = []
    for roll in (0.0, 40.0, -170.0):
        points = (landmarks.CANONICAL[None] - 0.5) * 80 @ rotations(np.array([roll])).transpose(0, 2, 1) + 100
        pose = np.array([roll, 3.0, 7.0], np.float32)
        samples.append(Sample("drawn", str(roll), Path(), "train", landmarks=points[0].astype(np.float32), pose=pose))
    photos = {sample.name: photo for sample in samples}
    kept = keep_features(AllInOne(CONFIG).eval(), samples, ByName(photos))
    torch.testing.assert_close(kept.labels["pose"], torch.tensor([[0.0, 3.0, 7.0]] * 3), atol=0.5, rtol=0)
    assert kept.labels["age"].isnan().all()


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
    for name, missing in (("age", batch["age"].isnan()), ("pose", batch["pose"].isnan().any(dim=1))):
        assert 0 < missing.sum() < 32
        some = {label: values[~missing] for label, values in batch.items()}
        torch.testing.assert_close(head_losses(heads, some)[name], after[name])
    none = {label: values[batch["pose"].isnan().any(dim=1)] for label, values in batch.items()}
    assert head_losses(heads, none)["pose"] == 0


def test_an_age_of_one_number_is_not_read_twice(kept: KeptFeatures):
    with pytest.raises(ValueError, match="chances of all ages"):
        new_heads(AllInOne(TINY), kept)
