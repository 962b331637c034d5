"""Labels that networks give where people gave none: what is written, and what a recipe's data make of it."""

import sys

import numpy as np
import pytest
import torch

from model import checkpoint, pseudo, train_proposals
from model.datasets import mixture
from model.datasets.mixture import MixtureConfig, load, photos
from model.datasets.regions import MISSED
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.proposals import ProposalNetwork
from model.train_proposals import HARD, Mosaics
from tests.conftest import TINY


@pytest.fixture
def labelled(world, tmp_path, monkeypatch):
    """The command's file of two networks."""
    paths = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)
        network = AllInOne(TINY)
        checkpoint.save(path, {"network": network.state_dict()}, {"network": checkpoint.network_config(network)})
    out = tmp_path / "smile.npz"
    monkeypatch.setattr(sys, "argv", ["pseudo", "smile", *map(str, paths), "--out", str(out)])
    pseudo.main()
    return out


def test_only_training_faces_without_the_label_get_one(labelled):
    with np.load(labelled) as arrays:
        names, smiles = set(arrays["names"]), arrays["smile"]
    train = [s for s in photos()[0] if s.split == "train"]
    assert names == {f"{s.source}/{s.name}" for s in train if np.isnan(s.smile)}
    assert {name.split("/")[0] for name in names} == {"utkface", "helen"}
    assert len(smiles) == len(names)
    assert ((smiles > 0) & (smiles < 1)).all()
    assert smiles.std() > 0


def test_a_recipe_learns_them_beside_the_labels(labelled):
    known = dict(zip(*(np.load(labelled)[name] for name in ("names", "smile")), strict=True))
    plain = load(MixtureConfig({"utkface": 1.0}, 4), 150).mixture.batch(0)[1]
    filled = load(MixtureConfig({"utkface": 1.0}, 4, pseudo=str(labelled)), 150).mixture.batch(0)[1]
    assert plain["smile"].isnan().all()
    assert torch.equal(filled["age"], plain["age"])
    assert all(min(abs(np.array(list(known.values())) - smile)) < 1e-6 for smile in filled["smile"].tolist())
    people = [s for s in photos()[0] if s.split == "train"]
    for before, after in zip(people, mixture.filled(people, str(labelled)), strict=True):
        if not np.isnan(before.smile):
            assert after is before or after.smile == before.smile


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
