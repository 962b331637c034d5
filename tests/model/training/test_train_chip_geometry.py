"""The training of landmarks, visibility and pose of the chip: its command, what it keeps of the photos, its losses."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint, chip_geometry
from model.chip_geometry import POINT_UNIT, ChipGeometry
from model.datasets import sunglasses
from model.landmarks import EARS
from model.network import AllInOne
from model.presets import PRESETS
from model.training import train_chip_geometry
from model.training.train_chip_geometry import DOUBTED, EXACT, ChipMaps, chip_maps, geometry_losses
from tests.model.training.test_train_shared_heads import ByName, drawn

MOBILE = PRESETS["mobile"]


class Says(torch.nn.Module):
    """Heads that say what they are told to, whatever they read."""

    def __init__(self, landmarks: torch.Tensor, visibility: torch.Tensor, pose: torch.Tensor) -> None:
        super().__init__()
        self.said = {"landmarks": landmarks, "visibility": visibility, "pose": pose}

    def forward(self, stage3: torch.Tensor, stage5: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.said


def labelled(count: int) -> dict[str, torch.Tensor]:
    return {
        "stage3": torch.zeros(count, 1, 2, 2),
        "stage5": torch.zeros(count, 1, 1, 1),
        "landmarks": torch.rand(count, 21, 2),
        "visibility": torch.ones(count, 21),
        "pose": torch.zeros(count, 3),
    }


def test_the_command_writes_a_part_that_goes_with_its_network(world, tmp_path, monkeypatch):
    network = AllInOne(MOBILE)
    path = tmp_path / "network.safetensors"
    run = tmp_path / "run"
    config = {"network": checkpoint.network_config(network)}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    words = [path, "--out", run, "--views", 70, "--steps", 2, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_chip_geometry", *map(str, words)])
    train_chip_geometry.main()
    written = run / f"{chip_geometry.PART}.safetensors"
    heads = ChipGeometry.of_weights(checkpoint.load(written).part(chip_geometry.PART))
    assert float(heads.mean3.abs().sum()) > 0
    assert np.load(run / "stage3.npy").shape == (70, MOBILE.channels[2], 28, 28)
    assert np.load(run / "stage5.npy").shape == (70, MOBILE.channels[4], 14, 14)
    assert np.load(run / "labels.npz")["landmarks"].shape == (70, 21, 2)
    words = [path, "--out", tmp_path / "longer", "--start", written, "--views", 70, "--steps", 1, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_chip_geometry", *map(str, words)])
    train_chip_geometry.main()
    longer = checkpoint.load(tmp_path / "longer" / written.name).part(chip_geometry.PART)
    torch.testing.assert_close(longer["mean3"], heads.mean3, atol=1e-2, rtol=1e-2)
    changed = {name for name, weights in heads.state_dict().items() if not torch.equal(longer[name], weights.half())}
    assert changed
    assert all(name.startswith("heads.visibility") for name in changed), "landmarks and pose stay as they are"


def test_what_is_kept_is_what_the_chips_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_chip_geometry, "COVERED", 1.0)
    samples, photos = drawn(200, 0.0, 40.0, -170.0)
    network = AllInOne(MOBILE).eval()
    maps = chip_maps(network, samples, photos, tmp_path, views=24, seed=0, threads=1)
    assert maps.stage3.shape[0] == maps.stage5.shape[0] == 24
    # Alignment leaves every face at the canonical place but for what the views were moved by.
    spread = maps.landmarks.std(axis=0).max()
    assert 0.002 < spread < 0.08
    assert np.abs(maps.pose[:, 0]).max() < 15, "what a chip leaves of the roll"
    assert set(np.sign(maps.pose[:, 2]).tolist()) == {-1.0, 1.0}, "some are mirrored"
    np.testing.assert_allclose(np.abs(maps.pose[:, 2]), 7.0, atol=1e-4)
    assert (maps.visibility == 0).any(), "what is covered is not visible"
    again = chip_maps(network, [], ByName({}), tmp_path, views=24, seed=0, threads=1)
    np.testing.assert_array_equal(again.stage5, maps.stage5)


def test_eyes_behind_dark_glasses_are_hidden_and_drawn_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train_chip_geometry, "COVERED", 0.0)
    samples, photos = drawn(200, 0.0, 40.0, -170.0)
    wears = [replace(s, visibility=np.ones(21, np.float32), glasses=float(i == 0)) for i, s in enumerate(samples)]
    monkeypatch.setattr(sunglasses, "lens_brightness", lambda _photo, _landmarks: 0.1)
    maps = chip_maps(AllInOne(MOBILE).eval(), wears, photos, tmp_path, views=60, seed=0, threads=1)
    hidden = (maps.visibility[:, list(sunglasses.EYES)] == 0).all(axis=1)
    assert (maps.visibility[~hidden] == 1).all()
    assert np.isnan(maps.visibility[hidden][:, list(sunglasses.BROWS)]).all()
    share = train_chip_geometry.SUNGLASSES_WEIGHT / (train_chip_geometry.SUNGLASSES_WEIGHT + 2)
    assert hidden.mean() == pytest.approx(share, abs=0.1)


def test_a_batch_holds_what_belongs_together():
    count = 40
    numbers = np.arange(count, dtype=np.float32)
    maps = ChipMaps(
        numbers.reshape(-1, 1, 1, 1).astype(np.float16),
        -numbers.reshape(-1, 1, 1, 1).astype(np.float16),
        np.tile(numbers[:, None, None], (1, 21, 2)),
        np.tile(numbers[:, None], (1, 21)),
        np.tile(numbers[:, None], (1, 3)),
    )
    batch = maps.batch(16, np.random.default_rng(0))
    first = batch["stage3"].flatten()
    assert len(first.unique()) > 8
    for name, sign in (("stage5", -1), ("landmarks", 1), ("visibility", 1), ("pose", 1)):
        torch.testing.assert_close(batch[name].flatten(1)[:, 0], sign * first)


def test_labels_that_heads_doubt_are_left_out_where_nothing_is_hidden():
    visibility = np.ones((3, 21), np.float32)
    visibility[0, list(EARS)] = 0.0
    visibility[1, 18] = 0.0
    chances = torch.full((3, 21), DOUBTED + 0.01)
    chances[:, [5, 12]] = DOUBTED - 0.01
    nothing = np.zeros((3, 1, 1, 1), np.float16)
    maps = ChipMaps(nothing, nothing, np.zeros((3, 21, 2)), visibility, np.zeros((3, 3)))
    heads = Says(torch.zeros(3, 21, 2), chances, torch.zeros(3, 3))
    expected = visibility.copy()
    expected[[0, 2, 2], [5, 5, 12]] = math.nan
    np.testing.assert_array_equal(maps.without_doubted(heads).visibility, expected)
    np.testing.assert_array_equal(maps.visibility, visibility)


def test_losses_by_hand():
    batch = labelled(2)
    shift = torch.zeros(2, 21, 2)
    shift[0, 3, 0] = 0.5 * POINT_UNIT
    shift[1, 4, 1] = 3 * POINT_UNIT
    batch["visibility"][1, 4] = 0.0
    batch["pose"][0] = math.nan
    pose = torch.tensor([[90.0, 90.0, 90.0], [10.0, 0.0, 0.0]])
    seen = torch.full((2, 21), 0.8)
    batch["visibility"][0, 7] = math.nan
    losses = geometry_losses(Says(batch["landmarks"] + shift, seen, pose), batch)
    near = math.log1p(0.5 / EXACT) / math.log1p(1 / EXACT)
    assert losses["landmarks"].item() == pytest.approx((near + 3 * 0.1) / (2 * 21 * 2), rel=1e-4)
    visible = (1 - 0.8**train_chip_geometry.TRUST) / train_chip_geometry.TRUST
    visibility = (40 * visible - math.log(0.2)) / 41
    assert losses["visibility"].item() == pytest.approx(train_chip_geometry.VISIBILITY_WEIGHT * visibility, rel=1e-4)
    assert losses["pose"].item() == pytest.approx(train_chip_geometry.POSE_WEIGHT * (1 - 0.05) / 3, rel=1e-4)


def test_without_labelled_pose_and_visibility_the_landmarks_still_learn():
    batch = labelled(2)
    batch["pose"][:] = math.nan
    batch["visibility"][:] = math.nan
    losses = geometry_losses(Says(batch["landmarks"], torch.ones(2, 21), torch.zeros(2, 3)), batch)
    assert {name: value.item() for name, value in losses.items()} == {"landmarks": 0.0, "visibility": 0.0, "pose": 0.0}
