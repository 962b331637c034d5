"""The training that makes one view of a face say what two views say: teacher, batches, losses, command."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import checkpoint
from model.datasets import shared_dir
from model.network import PRESETS, AllInOne
from model.training import train_descriptor
from model.training.identity_teacher import FILE, IdentityTeacher
from model.training.train_descriptor import SECOND_SHARE, SHARED_STAGES, DescriptorStages, FaceViews, losses
from tests.conftest import TINY
from tests.model.test_mobile import Arrays, chips, random_arrays

ARRAYS = shared_dir() / "data" / "teacher" / FILE
FACES = 12
SIZE = 192
"""Numbers of the second network's descriptor."""


def teacher_arrays(seed: int = 1) -> Arrays:
    """Arrays of the second published file's names and shapes."""
    arrays = random_arrays(seed)
    rng = np.random.default_rng(seed)
    arrays["stage1.project.weight"] = rng.normal(0, 0.1, (64, 64, 1, 1)).astype(np.float16)
    arrays["stage1.project.bias"] = np.zeros(64, np.float32)
    arrays["stage7.linear.weight"] = arrays["stage7.linear.weight"][:SIZE]
    arrays["stage7.linear.bias"] = arrays["stage7.linear.bias"][:SIZE]
    return arrays


@pytest.fixture
def views() -> FaceViews:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, FACES, 128, 14, 14)).astype(np.float16)
    first = rng.normal(size=(2, FACES, 512)).astype(np.float32)
    return FaceViews(maps, first, rng.normal(size=(2, FACES, SIZE)).astype(np.float32))


@torch.inference_mode()
def test_padding_of_stride_two_is_below_and_right_only():
    """A dark photo with one bright pixel: the first convolution's map shows it where that padding puts it."""
    arrays = teacher_arrays()
    arrays["stage1.conv.weight"] = np.zeros((64, 3, 3, 3), np.float16)
    arrays["stage1.conv.weight"][:, 0, 0, 0] = 1
    arrays["stage1.conv.bias"] = np.zeros(64, np.float32)
    photo = torch.zeros(1, 3, 112, 112)
    photo[0, 0, 4, 6] = 255
    found = IdentityTeacher(arrays)._convolve(photo, "stage1.conv", 2)
    assert found.shape == (1, 64, 56, 56)
    assert (found[0, 0] > 0).nonzero().tolist() == [[2, 3]]


@torch.inference_mode()
def test_the_second_network_is_deterministic_and_takes_each_chip_for_itself():
    network = IdentityTeacher(teacher_arrays())
    all_of_them = network(chips(3))
    assert all_of_them.shape == (3, SIZE)
    torch.testing.assert_close(network(chips(3)[1:2]), all_of_them[1:2], rtol=1e-3, atol=1e-5)
    assert F.cosine_similarity(all_of_them[0], all_of_them[1], dim=0) < 0.999


def test_an_array_that_is_missing():
    arrays = teacher_arrays()
    del arrays["stage3.1.expand.bias"]
    with pytest.raises(AttributeError, match="stage3_1_expand_bias"):
        IdentityTeacher(arrays)(chips(1))


@pytest.mark.skipif(not ARRAYS.is_file(), reason="the published network is not in the shared folder")
@torch.inference_mode()
def test_the_published_arrays_fit():
    assert IdentityTeacher.read()(chips(2)).shape == (2, SIZE)


def test_what_is_to_be_learnt_is_the_same_for_both_views(views: FaceViews):
    batch = views.batch(FACES, np.random.default_rng(0))
    units = [values / np.linalg.norm(values, axis=2, keepdims=True) for values in (views.first, views.second)]
    first, second = (torch.from_numpy(unit.sum(axis=0)) for unit in units)
    torch.testing.assert_close(batch["first"], F.normalize(first), atol=1e-5, rtol=0)
    expected = F.normalize(first) @ F.normalize(first).T + SECOND_SHARE**2 * F.normalize(second) @ F.normalize(second).T
    torch.testing.assert_close(batch["both"] @ batch["both"].T, expected / (1 + SECOND_SHARE**2), atol=1e-5, rtol=0)
    shown = np.array(
        [[np.array_equal(seen, view) for view in views.maps[:, i]] for i, seen in enumerate(batch["maps"])]
    )
    assert (shown.sum(axis=1) == 1).all(), "each face is shown in one of its views"
    assert 0 < shown[:, 1].sum() < FACES
    assert len(views.batch(5, np.random.default_rng(1))["maps"]) == 5


class Linear(torch.nn.Module):
    """A descriptor that is quickly learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(18, 512)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.layer(maps.flatten(1)))


def test_losses_fall_and_are_nothing_for_what_is_learnt():
    torch.manual_seed(0)
    maps = torch.randn(6, 2, 3, 3)
    taught = F.normalize(torch.randn(6, 512))
    batch = {"maps": maps, "first": taught, "both": F.pad(taught, (0, SIZE))}
    stages = Linear()
    optimizer = torch.optim.Adam(stages.parameters(), 1e-2)
    before = losses(stages, batch)
    for _ in range(40):
        optimizer.zero_grad()
        sum(losses(stages, batch).values()).backward()
        optimizer.step()
    assert set(before) == {"descriptors", "similarities"}
    assert sum(losses(stages, batch).values()) < 0.5 * sum(before.values())
    assert all(value < 1e-4 for value in losses(lambda _: taught, batch).values())


@torch.inference_mode()
def test_the_stages_that_learn_are_those_after_the_shared_ones():
    network = AllInOne(TINY).eval()
    photos = torch.rand(2, 3, TINY.input_size, TINY.input_size) * 255
    expected = F.normalize(network(photos, ["descriptor"])["descriptor"])
    found = DescriptorStages(network)(network.trunk(photos, SHARED_STAGES)[-1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="identity branch"):
        DescriptorStages(AllInOne(replace(TINY, identity=False)))


@pytest.mark.slow
def test_the_command_writes_a_network_without_mirror_images(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = AllInOne(PRESETS["mobile"]).eval()
    paths = {name: tmp_path / name for name in ("network.safetensors", "teacher.npz", "run")}
    np.savez(paths["teacher.npz"], **teacher_arrays())
    config = {"network": checkpoint.network_config(network), "preset": "mobile"}
    checkpoint.save(paths["network.safetensors"], {"network": checkpoint.inference_state(network)}, config)
    words = [paths["network.safetensors"], "--teacher", paths["teacher.npz"], "--out", paths["run"], "--threads", 1]
    words += ["--steps", 2, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_descriptor", *map(str, words)])
    train_descriptor.main()
    taught = checkpoint.build_network(checkpoint.load(paths["run"] / "network.safetensors"))
    assert taught.config == replace(network.config, mirror=False)
    before, after = network.state_dict(), taught.state_dict()
    learnt = {name for name in after if not torch.equal(before[name].half().float(), after[name])}
    assert learnt
    assert all(name.startswith(("stages.5.", "stages.6.", "identity.fc7.")) for name in learnt)
    maps = np.load(paths["run"] / "maps.npy")
    assert maps.shape[0] == 2
    assert not np.array_equal(maps[0], maps[1])


def test_chips_of_another_frame(views: FaceViews, tmp_path: Path):
    network = AllInOne(replace(PRESETS["mobile"], frame="canonical"))
    with pytest.raises(ValueError, match="arcface"):
        train_descriptor.face_views(network, IdentityTeacher(teacher_arrays()), [], {}, tmp_path, 1)
