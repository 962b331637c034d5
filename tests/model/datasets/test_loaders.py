"""The mixture of loaders: batches by seed and step alone, made ahead in a thread that ends."""

from typing import Literal

import pytest
import torch

from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Mixture
from model.datasets.mixture import MixtureConfig, load
from model.datasets.readers import celeba
from model.datasets.regions import Regions
from tests.model.conftest import LABELS, SIZE

CELEBA: tuple[Literal["celeba_wild", "celeba_aligned_small"], ...] = ("celeba_wild", "celeba_aligned_small")


def test_a_batch_depends_on_seed_and_step_alone(drawn):
    faces, empty, store = drawn

    def build(seed: int) -> Mixture:
        loaders = {
            "aligned": AlignedFaces(faces, store, SIZE, LABELS, balance_age=0.3).batch,
            "regions": Regions(faces, empty, store, SIZE).batch,
        }
        return Mixture(loaders, {"aligned": 0.5, "regions": 0.5}, 3, seed)

    first, second = build(7), build(7)
    expected = [first.batch(step) for step in range(6)]
    assert {name for name, _ in expected} == {"aligned", "regions"}
    for step in (5, 0, 3, 1, 4, 2):  # another order
        name, batch = second.batch(step)
        assert name == expected[step][0]
        assert set(batch) == set(expected[step][1])
        for key, value in batch.items():
            torch.testing.assert_close(value, expected[step][1][key], rtol=0, atol=0, equal_nan=True)
    other = [build(8).batch(step) for step in range(6)]
    assert any(
        a[0] != b[0] or not torch.equal(a[1]["crops"], b[1]["crops"]) for a, b in zip(expected, other, strict=True)
    )


def test_shares():
    loaders = {name: (lambda count, _: {"crops": torch.zeros(count)}) for name in ("a", "b", "c")}
    mixture = Mixture(loaders, {"a": 1.0, "b": 3.0, "c": 0.0}, 2, 0)
    names = [mixture.batch(step)[0] for step in range(400)]
    assert names.count("b") == pytest.approx(300, abs=35)
    assert "c" not in names


def test_the_whole_mixture_of_a_recipe(world):
    shares = {"utkface": 0.25, "celeba": 0.25, "mtfl": 0.25, "regions": 0.25}
    data = load(MixtureConfig(shares, batch_size=2, validation_size=6), 64)
    assert set(data.mixture.loaders) == set(shares)
    trained = {s.subject for name in CELEBA for s in celeba.read(name) if s.split == "train"}
    assert data.subjects == len(trained) > 10
    seen = dict(map(data.mixture.batch, range(30)))
    assert set(seen) == set(shares)
    assert set(seen["utkface"]) == {"crops", "age", "female", "smile", "embedding"}
    assert seen["utkface"]["smile"].isnan().all()
    assert set(seen["celeba"]) == {"crops", "female", "smile", "subject", "person", "embedding"}
    assert set(seen["mtfl"]) == {"crops", "female", "smile", "embedding"}
    assert set(seen["regions"]) == {"crops", "detection", "landmarks", "landmark_weight", "visibility", "pose"}
    assert all(batch["crops"].shape == (2, 3, 64, 64) for batch in seen.values())
    assert set(data.validation) == {"utkface", "celeba", "mtfl", "helen", "regions"}
    assert all(batch["detection"].eq(1).all() for batch in data.validation["helen"])
    only = load(MixtureConfig({"regions": 1.0}, batch_size=2, validation_size=2), 64)
    assert set(only.mixture.loaders) == {"regions"}
