"""The training that makes one view of a face say what two views say: teacher, batches, losses, command."""

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import checkpoint
from model.datasets import Sample, shared_dir
from model.datasets.aligned import AlignedFaces
from model.network import AllInOne
from model.presets import DESCRIPTOR, PRESETS
from model.training import train_descriptor
from model.training.identity_teacher import FILE, IdentityTeacher
from model.training.train_descriptor import (
    EXACT_SHARE,
    DescriptorStages,
    FaceViews,
    FixedStages,
    losses,
    taught_descriptors,
    without_mirror,
)
from tests.conftest import TINY
from tests.model.test_mobile import Arrays, chips, random_arrays

ARRAYS = shared_dir() / "data" / "teacher" / FILE
FACES = 12
SIDE = 112
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


class Photos:
    """As many faces as there are, each a chip of one colour but for a bright spot on its left."""

    def __init__(self) -> None:
        self.samples = [Sample("drawn", str(index), Path(f"{index}.png"), "train") for index in range(FACES)]

    def __getitem__(self, sample: Sample) -> np.ndarray:
        photo = np.full((SIDE, SIDE, 3), 20 + 10 * self.samples.index(sample), np.uint8)
        photo[:, : SIDE // 4] = 255
        return photo


@pytest.fixture
def views() -> FaceViews:
    photos = Photos()
    matrices = np.tile(np.eye(2, 3), (FACES, 1, 1))
    faces = AlignedFaces(photos.samples, photos, SIDE, (), matrices=matrices, frame="arcface")
    taught = np.eye(FACES, DESCRIPTOR, dtype=np.float32)
    return FaceViews(faces, taught, lambda chips: [chips.float().numpy()])


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


def test_what_is_taught_compares_as_both_networks_beside_each_other():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 40, DESCRIPTOR)), rng.normal(size=(2, 40, SIZE))
    taught = taught_descriptors(first, second)
    assert taught.dtype == np.float32
    units = [torch.from_numpy(both / np.linalg.norm(both, axis=2, keepdims=True)).float() for both in (first, second)]
    means = [F.normalize(unit.sum(dim=0)) for unit in units]
    expected = sum(mean @ mean.T for mean in means) / 2
    torch.testing.assert_close(torch.from_numpy(taught @ taught.T), expected, atol=1e-5, rtol=0)
    turned = taught @ np.linalg.qr(rng.normal(size=(DESCRIPTOR, DESCRIPTOR)))[0]
    near, far = ((some * means[0].numpy()).sum(axis=1).mean() for some in (taught, turned))
    assert near > 0.6 > far


def test_a_batch_shows_each_face_once_and_some_as_they_are(views: FaceViews):
    batch = views.batch(FACES, np.random.default_rng(0))
    rows = batch["taught"].argmax(dim=1)
    assert sorted(rows.tolist()) == list(range(FACES))
    exact = round(EXACT_SHARE * FACES)
    shown = [views.faces.exact([row])["crops"][0].float() for row in rows[:exact].tolist()]
    for position, (seen, chip) in enumerate(zip(batch["maps"][:exact], shown, strict=True)):
        assert torch.equal(seen, chip.flip(2) if position % 2 == 0 else chip)
    changed = views.faces.exact(rows[exact:].tolist())["crops"].float()
    assert all(not torch.equal(seen, chip) for seen, chip in zip(batch["maps"][exact:], changed, strict=True))
    assert len(views.batch(5, np.random.default_rng(1))["maps"]) == 5
    assert len(views.batch(FACES + 5, np.random.default_rng(1))["maps"]) == FACES


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
    batch = {"maps": maps, "taught": taught}
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
def test_fixed_stages_and_those_that_learn_are_the_network():
    network = AllInOne(PRESETS["mobile"]).eval()
    expected = F.normalize(network(chips(2), ["descriptor"])["descriptor"])
    found = DescriptorStages(network)(FixedStages(network)(chips(2)))
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
    assert taught.config == replace(network.config, mirror=False, local_stages=1)
    before, after = network.state_dict(), taught.state_dict()
    own = "local_stages.0."
    assert all(torch.equal(after[own + name], values) for name, values in network.stages[4].half().state_dict().items())
    learnt = {name for name in before if not torch.equal(before[name].half().float(), after[name])}
    assert learnt
    parts = ("stages.4.4.", "stages.4.5.", "stages.5.", "stages.6.", "identity.fc7.")
    assert all(name.startswith(parts) for name in learnt)


def test_the_local_branch_of_a_network_of_one_view_stays_as_it_was():
    torch.manual_seed(0)
    network = AllInOne(PRESETS["mobile"]).eval()
    learnt = deepcopy(network)
    for parameter in DescriptorStages(learnt).parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    local = network.config.local
    with torch.inference_mode():
        expected = network(chips(2), local)
        for start in (network, without_mirror(network, network)):
            result = without_mirror(start, learnt)
            found = result(chips(2), local)
            torch.testing.assert_close(found, expected)
            described = result(chips(2), ["descriptor"])["descriptor"]
            torch.testing.assert_close(described, learnt(chips(2), ["descriptor"])["descriptor"])


def test_chips_of_another_frame(views: FaceViews, tmp_path: Path):
    network = AllInOne(replace(PRESETS["mobile"], frame="canonical"))
    with pytest.raises(ValueError, match="arcface"):
        train_descriptor.face_views(network, IdentityTeacher(teacher_arrays()), views.faces, tmp_path, 1)
