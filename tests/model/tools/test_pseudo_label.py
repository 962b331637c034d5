"""Labels that networks give: what is written, and what a recipe's data make of it."""

import sys

import numpy as np
import pytest
import torch

from model import checkpoint
from model.datasets import mixture
from model.datasets.mixture import photos
from model.datasets.regions import MISSED
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.proposal_network import ProposalNetwork
from model.tasks import TASKS
from model.tools import pseudo_label
from model.training import train_proposals
from model.training.train_proposals import HARD, Mosaics
from tests.conftest import TINY


@pytest.fixture
def labelled(world, tmp_path, monkeypatch):
    """The command's file of two networks."""
    paths = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        network = AllInOne(TINY)
        checkpoint.save(path, {"network": network.state_dict()}, {"network": checkpoint.network_config(network)})
    out = tmp_path / "labels.npz"
    monkeypatch.setattr(sys, "argv", ["pseudo_label", *map(str, paths), "--out", str(out)])
    pseudo_label.main()
    return out


def test_every_training_face_gets_an_answer_for_each_deep_task(labelled):
    with np.load(labelled) as arrays:
        answers = {name: arrays[name] for name in arrays.files}
    train = [s for s in photos()[0] if s.split == "train" and np.isfinite(s.landmarks).all()]
    assert set(answers.pop("names")) == {f"{s.source}/{s.name}" for s in train}
    assert set(answers) == {TASKS[name].label for name in TINY.deep}
    for name, values in answers.items():
        assert len(values) == len(train)
        assert values.std() > 0
        if name != "age":
            assert ((values > 0) & (values < 1)).all()


def test_answers_fill_missing_labels_and_mix_into_those_that_people_gave(labelled):
    with np.load(labelled) as arrays:
        rows = dict(zip(arrays["names"], arrays["female"], strict=True))
    people = [s for s in photos()[0] if s.split == "train" and f"{s.source}/{s.name}" in rows]
    for before, after in zip(people, mixture.filled(people, str(labelled), share=0.25), strict=True):
        answer = rows[f"{before.source}/{before.name}"]
        expected = answer if np.isnan(before.female) else 0.75 * before.female + 0.25 * answer
        assert after.female == pytest.approx(expected, abs=1e-6)
    for before, after in zip(people, mixture.filled(people, str(labelled)), strict=True):
        if not np.isnan(before.female):
            assert after.female == before.female
    assert {s.source for s in people if np.isnan(s.female)} == {"helen"}


def test_missed_faces_are_laid_on_mosaics_more_often(world):
    faces, empty = photos()
    train = [s for s in faces if s.split == "train"]
    store = PhotoStore(faces + empty)
    chosen = next(s for s in train if s.source == "mtfl_net")
    usual = Mosaics(train, empty, store)
    hard = Mosaics(train, empty, store, {f"{chosen.source}/{chosen.name}"})
    place = usual.samples.index(chosen)
    ratio = (hard._chances[place] / (1 - hard._chances[place])) / (usual._chances[place] / (1 - usual._chances[place]))
    assert ratio == pytest.approx(HARD)


def test_a_proposer_goes_on_from_a_checkpoint(world, tmp_path, monkeypatch):
    torch.manual_seed(3)
    started = ProposalNetwork().state_dict()
    checkpoint.save(tmp_path / "start.safetensors", {"proposals": started}, {})
    np.savez(tmp_path / "hard.npz", **{MISSED: np.array(["mtfl_net/photo3.webp"])})
    words = ["--start", tmp_path / "start.safetensors", "--hard", tmp_path / "hard.npz", "--steps", 1, "--lr", 0]
    words += ["--batch-size", 2, "--out", tmp_path / "run"]
    monkeypatch.setattr(sys, "argv", ["train_proposals", *map(str, words)])
    train_proposals.main()
    went_on = checkpoint.load(tmp_path / "run" / "proposals.safetensors").part("proposals")
    for name, tensor in started.items():
        torch.testing.assert_close(went_on[name], tensor.half().float())
