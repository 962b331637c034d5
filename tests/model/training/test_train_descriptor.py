"""The training that makes one view of a face say what two views say: batches, losses, what changes, command."""

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import checkpoint
from model.datasets import Sample
from model.datasets.aligned import AlignedFaces
from model.network import AllInOne
from model.presets import PRESETS
from model.training import train_descriptor
from model.training.train_descriptor import (
    EXACT_SHARE,
    DescriptorStages,
    FixedStages,
    TaughtViews,
    losses,
    taught_views,
    without_mirror,
)
from tests.conftest import TINY
from tests.model.test_mobile import chips

FACES = 12
SIDE = 112


class Photos:
    """A photo for each sample, a chip of one grey but for a bright stripe on its left."""

    def __init__(self) -> None:
        self.samples = [Sample("drawn", str(index), Path(f"{index}.png"), "train") for index in range(FACES)]

    def __getitem__(self, sample: Sample) -> np.ndarray:
        photo = np.full((SIDE, SIDE, 3), 20 + 10 * self.samples.index(sample), np.uint8)
        photo[:, : SIDE // 4] = 255
        return photo


@pytest.fixture
def faces() -> AlignedFaces:
    photos = Photos()
    matrices = np.tile(np.eye(2, 3), (FACES, 1, 1))
    return AlignedFaces(photos.samples, photos, SIDE, (), matrices=matrices, frame="arcface")


@pytest.fixture
def asked() -> list[torch.Tensor]:
    """The chips that the teacher of `views` was asked about."""
    return []


@pytest.fixture
def views(faces: AlignedFaces, asked: list[torch.Tensor]) -> TaughtViews:
    """Views whose teacher shows of each chip one row of pixels, and says of it the first columns of it."""

    def teacher(seen: torch.Tensor) -> list[np.ndarray]:
        asked.append(seen)
        return [seen[:, :, :1].float().numpy(), F.normalize(seen[:, 0, 0, :8].float()).numpy()]

    return TaughtViews(faces, teacher)


def test_a_batch_teaches_of_each_chip_and_its_mirror_image_what_lies_between(views: TaughtViews, asked):
    batch = views.batch(8, np.random.default_rng(0))
    (seen,) = asked
    assert len(seen) == len(batch["maps"]) == len(batch["taught"]) == 8
    assert torch.equal(seen[4:], seen[:4].flip(3))
    assert torch.equal(batch["maps"], seen[:, :, :1].float())
    of_both = [F.normalize(half[:, 0, 0, :8].float()) for half in seen.chunk(2)]
    expected = F.normalize(of_both[0] + of_both[1])
    torch.testing.assert_close(batch["taught"], torch.cat([expected, expected]))


def test_some_chips_are_faces_as_they_are_and_no_face_comes_twice(
    views: TaughtViews, asked, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_descriptor, "MIXED_SHARE", 0.0)
    views.batch(2 * FACES + 6, np.random.default_rng(0))
    seen = asked[0][:FACES]
    assert len(asked[0]) == 2 * FACES, "there are no more faces"
    every = views.faces.exact(range(FACES))["crops"]
    same = torch.tensor([[torch.equal(chip, face) for face in every] for chip in seen])
    exact = round(EXACT_SHARE * FACES)
    assert same[:exact].sum(dim=1).tolist() == [1] * exact
    assert same.sum(dim=0).max() == 1
    assert not same[exact:].any()


def test_another_face_shines_through_with_at_most_half_of_the_weight(monkeypatch: pytest.MonkeyPatch):
    dark_and_bright = torch.tensor([0, 200], dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4).contiguous()
    monkeypatch.setattr(train_descriptor, "MIXED_SHARE", 1.0)
    mixed = [train_descriptor._mixed(dark_and_bright, np.random.default_rng(seed)) for seed in range(20)]
    assert any(not torch.equal(chips_, dark_and_bright) for chips_ in mixed)
    assert all(dark.max() <= 100 <= bright.min() for dark, bright in mixed)
    monkeypatch.setattr(train_descriptor, "MIXED_SHARE", 0.0)
    assert torch.equal(train_descriptor._mixed(dark_and_bright, np.random.default_rng(0)), dark_and_bright)


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


def test_what_is_taught_is_the_network_s_own_answer(faces: AlignedFaces):
    torch.manual_seed(0)
    network = AllInOne(PRESETS["mobile"]).eval()
    batch = taught_views(network, faces, threads=1).batch(6, np.random.default_rng(0))
    stages = DescriptorStages(network)
    with torch.inference_mode():
        of_chips, of_mirror_images = stages(batch["maps"]).chunk(2)
    torch.testing.assert_close(batch["taught"][:3], F.normalize(of_chips + of_mirror_images), atol=1e-4, rtol=0)


@pytest.mark.slow
def test_the_command_writes_a_network_without_mirror_images(world, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network = AllInOne(PRESETS["mobile"]).eval()
    path, run = tmp_path / "network.safetensors", tmp_path / "run"
    config = {"network": checkpoint.network_config(network), "preset": "mobile"}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    words = [path, "--out", run, "--threads", 1, "--steps", 2, "--batch-size", 4]
    monkeypatch.setattr(sys, "argv", ["train_descriptor", *map(str, words)])
    train_descriptor.main()
    taught = checkpoint.build_network(checkpoint.load(run / "network.safetensors"))
    assert taught.config == replace(network.config, mirror=False, local_stages=1)
    before, after = network.state_dict(), taught.state_dict()
    own = "local_stages.0."
    for name, values in network.stages[4].state_dict().items():
        assert torch.equal(after[own + name], values.half().float())
    learnt = {name for name in before if not torch.equal(before[name].half().float(), after[name])}
    assert learnt
    parts = ("stages.4.4.", "stages.4.5.", "stages.5.", "stages.6.", "identity.fc7.")
    assert all(name.startswith(parts) for name in learnt)
