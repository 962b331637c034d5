"""Answers about training faces by heads that never saw them: who is in which part, and what the command writes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model import checkpoint
from model.datasets import Sample, mixture
from model.network import AllInOne
from model.training import cross_fit
from model.training.cross_fit import parts_by_person
from model.training.train_shared_heads import StageOutputs
from tests.conftest import TINY

CONFIG = replace(TINY, ages=101)


def test_all_faces_of_a_person_are_in_one_part():
    people = [None, *[f"person {number}" for number in range(20)]]
    samples = [Sample("drawn", str(i), Path(), "train", subject=people[i % len(people)]) for i in range(400)]
    parts = parts_by_person(samples, 4, seed=1)
    assert set(parts.tolist()) == {0, 1, 2, 3}
    for person in people[1:]:
        assert len({part for part, s in zip(parts.tolist(), samples, strict=True) if s.subject == person}) == 1
    assert len({part for part, s in zip(parts.tolist(), samples, strict=True) if s.subject is None}) == 4
    assert np.bincount([parts[i] for i in range(1, 21)]).tolist() == [5] * 4
    assert (parts == parts_by_person(samples, 4, seed=1)).all()


def test_every_training_face_is_answered_by_heads_that_did_not_see_it(world, tmp_path, monkeypatch: pytest.MonkeyPatch):
    network = AllInOne(CONFIG)
    path, run = tmp_path / "network.safetensors", tmp_path / "run"
    config = {"network": checkpoint.network_config(network)}
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)
    chosen: list[np.ndarray] = []
    fit = cross_fit.fit

    def spy(heads, part, draw, *rest):
        outputs: StageOutputs = draw.__self__
        chosen.append(outputs.chosen)
        return fit(heads, part, draw, *rest)

    monkeypatch.setattr(cross_fit, "fit", spy)
    words = [path, "--out", run, "--steps", 2, "--batch-size", 4, "--parts", 2]
    monkeypatch.setattr(sys, "argv", ["cross_fit", *map(str, words)])
    cross_fit.main()
    train = [s for s in mixture.photos()[0] if s.split == "train" and np.isfinite(s.landmarks).all()]
    first, second = chosen
    assert sorted([*first, *second]) == list(range(len(train))), "each face is left out once"
    with np.load(run / "answers.npz") as arrays:
        found = {name: arrays[name] for name in arrays.files}
    assert set(found.pop("names")) == {f"{s.source}/{s.name}" for s in train}
    assert set(found) == {"age", "female", "smile"}
    assert all(len(values) == len(train) and np.isfinite(values).all() for values in found.values())
    filled = mixture.filled(train, str(run / "answers.npz"), share=0.4)
    assert all(np.isfinite([s.age, s.female, s.smile]).all() for s in filled)
