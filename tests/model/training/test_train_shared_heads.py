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
from model.shared_heads import PART, SharedHeads, features
from model.training import train_shared_heads
from model.training.train_shared_heads import VIEWS, StageOutputs, head_losses, new_heads, stage_outputs
from tests.conftest import TINY

CONFIG = replace(TINY, ages=101)
FACES = 40


class ByName:
    """Photos by their samples' names."""

    def __init__(self, photos: dict[str, np.ndarray]) -> None:
        self.photos = photos

    def __getitem__(self, sample: Sample) -> np.ndarray:
        return self.photos[sample.name]


@pytest.fixture
def outputs() -> StageOutputs:
    """Faces of which all but the last four have views; one channel of stage 6 says gender, one of stage 5 the smile."""
    rng = np.random.default_rng(0)
    female = np.arange(FACES) % 2
    smile = np.where(np.arange(FACES) < 30, np.arange(FACES) // 2 % 2, np.nan).astype(np.float32)
    age = np.where(np.arange(FACES) % 4, np.arange(FACES), np.nan).astype(np.float32)
    pose = rng.normal(size=(FACES, 3)).astype(np.float32) * 10
    pose[1::5] = np.nan
    views = 1 + VIEWS
    stage6 = rng.normal(size=(FACES + VIEWS * 36, CONFIG.channels[5], 7, 7)).astype(np.float16)
    stage6[:, 0] += 3 * np.concatenate([female, np.tile(female[:36], VIEWS)])[:, None, None]
    stage5 = rng.normal(size=(views * 30, CONFIG.channels[4], 14, 14)).astype(np.float16)
    stage5[:, 1] += 3 * np.tile(smile[:30], views)[:, None, None].astype(np.float16)
    descriptors = rng.normal(size=(len(stage6), 512)).astype(np.float16)
    labels = {"age": age, "female": female.astype(np.float32), "smile": smile, "pose": pose}
    return StageOutputs(stage5, stage6, descriptors, labels)


def test_the_command_writes_a_part_that_goes_with_its_network(world, tmp_path, monkeypatch):
    network = AllInOne(CONFIG)
    path = tmp_path / "network.safetensors"
    run = tmp_path / "run"
    config = {"network": checkpoint.network_config(network)}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    words = [path, "--out", run, "--steps", 2, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_shared_heads", *map(str, words)])
    train_shared_heads.main()
    heads = SharedHeads.of_weights(checkpoint.load(run / f"{PART}.safetensors").part(PART))
    assert all(float(part.mean.abs().sum()) > 0 for part in (heads, heads.stage5, heads.stage6))
    labels = np.load(run / "labels.npz")
    smiling = int(np.isfinite(labels["smile"]).sum())
    labelled = np.any([np.isfinite(labels[name]) for name in ("age", "female", "smile")], axis=0)
    assert 0 < smiling < labelled.sum() < len(labelled)
    assert labelled[: labelled.sum()].all(), "faces with a label come first"
    rows = len(labelled) + VIEWS * labelled.sum()
    assert len(np.load(run / "descriptors.npy")) == len(np.load(run / "stage6.npy")) == rows
    assert len(np.load(run / "stage5.npy")) == (1 + VIEWS) * smiling


def drawn(size: int, *rolls: float) -> tuple[list[Sample], ByName]:
    """Faces on noise whose landmarks lie turned by their roll."""
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    samples = []
    for roll in rolls:
        points = (landmarks.CANONICAL[None] - 0.5) * 80 @ rotations(np.array([roll])).transpose(0, 2, 1) + size / 2
        pose = np.array([roll, 3.0, 7.0], np.float32)
        samples.append(
            Sample("drawn", str(roll), Path(), "train", landmarks=points[0].astype(np.float32), pose=pose, smile=1.0)
        )
    return samples, ByName({sample.name: photo for sample in samples})


def test_the_roll_that_is_learnt_is_what_the_chip_leaves_of_it(tmp_path: Path):
    samples, photos = drawn(200, 0.0, 40.0, -170.0)
    outputs = stage_outputs(AllInOne(CONFIG).eval(), samples, photos, tmp_path)
    np.testing.assert_allclose(outputs.labels["pose"], [[0.0, 3.0, 7.0]] * 3, atol=0.5, rtol=0)
    assert np.isnan(outputs.labels["age"]).all()


def test_a_face_is_kept_as_it_is_and_changed_and_looked_at_once(tmp_path: Path):
    samples, photos = drawn(200, 0.0, 5.0)
    network = AllInOne(CONFIG).eval()
    outputs = stage_outputs(network, samples, photos, tmp_path)
    assert outputs.stage5.shape[:2] == (2 * (1 + VIEWS), CONFIG.channels[4])
    exact, *changed = outputs.stage5[::2].astype(np.float32)
    assert all(np.abs(view - exact).max() > 0.01 for view in changed)
    again = stage_outputs(network, [], ByName({}), tmp_path)
    np.testing.assert_array_equal(again.stage6, outputs.stage6)


def test_a_batch_holds_labels_of_its_faces(outputs: StageOutputs):
    batch = outputs.batch(64, np.random.default_rng(3))
    assert {name: len(values) for name, values in batch.items()} == {
        **dict.fromkeys(("age", "female", "pose", "stage6", "descriptor"), 64),
        **dict.fromkeys(("smiling_stage5", "smiling"), 32),
    }
    torch.testing.assert_close(batch["female"], (batch["stage6"][:, 0].mean(dim=(1, 2)) > 1.5).float())
    torch.testing.assert_close(batch["smiling"], (batch["smiling_stage5"][:, 1].mean(dim=(1, 2)) > 1.5).float())
    assert batch["pose"][32:].isnan().all(), "a changed view has another pose"
    assert not batch["pose"][:32].isnan().all()
    assert torch.equal(batch["stage6"], outputs.batch(64, np.random.default_rng(3))["stage6"])


def test_what_the_heads_read_is_standardised(outputs: StageOutputs):
    heads = new_heads(AllInOne(CONFIG), outputs)
    stage5, stage6, descriptors = (
        torch.from_numpy(values).float() for values in (outputs.stage5, outputs.stage6, outputs.descriptors)
    )
    vectors = (features(stage6, descriptors) - heads.mean) / heads.deviation
    channels = [
        (stage5 - heads.stage5.mean) / heads.stage5.deviation,
        (stage6 - heads.stage6.mean) / heads.stage6.deviation,
    ]
    for standard in (vectors, *(values.transpose(0, 1).flatten(1).T for values in channels)):
        assert standard.mean(dim=0).abs().max() < 1e-3
        assert 0.7 < standard.std(dim=0).min() <= standard.std(dim=0).max() < 1.0


def test_losses_fall_and_unlabelled_faces_add_nothing(outputs: StageOutputs):
    torch.manual_seed(0)
    heads = new_heads(AllInOne(CONFIG), outputs)
    batch = outputs.batch(32, np.random.default_rng(0))
    optimizer = torch.optim.Adam(heads.parameters(), 1e-3)
    before = head_losses(heads.eval(), batch)
    assert set(before) == {"age", "gender", "age_of_maps", "gender_of_maps", "smile", "pose"}
    for _ in range(20):
        optimizer.zero_grad()
        sum(head_losses(heads.train(), batch).values()).backward()
        optimizer.step()
    after = head_losses(heads.eval(), batch)
    assert all(after[name] < 0.9 * before[name] for name in before)
    of_faces = {name: values for name, values in batch.items() if not name.startswith("smiling")}
    smiles = {name: values for name, values in batch.items() if name.startswith("smiling")}
    for name, missing in (("age", batch["age"].isnan()), ("pose", batch["pose"].isnan().any(dim=1))):
        assert 0 < missing.sum() < 32
        some = {label: values[~missing] for label, values in of_faces.items()} | smiles
        torch.testing.assert_close(head_losses(heads, some)[name], after[name])
    none = {label: values[batch["pose"].isnan().any(dim=1)] for label, values in of_faces.items()} | smiles
    assert head_losses(heads, none)["pose"] == 0


def test_an_age_of_one_number_is_not_read_twice(outputs: StageOutputs):
    with pytest.raises(ValueError, match="chances of all ages"):
        new_heads(AllInOne(TINY), outputs)
