"""The triplet embedding: gradient against autograd, mining by hand, learning what is there to learn."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import tpe
from model.datasets import Sample
from model.identity import triplets
from model.identity.projection import LearnedProjection
from model.tools.describe_faces import Described


def faces(people: int, photos: int, dimension: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit descriptors of people told apart in 6 directions, with strong nuisance in 6 others."""
    generator = torch.Generator().manual_seed(seed)
    identity = torch.randn(people, 6, generator=generator).repeat_interleave(photos, 0)
    nuisance = 2.5 * torch.randn(people * photos, 6, generator=generator)
    rest = 0.3 * torch.randn(people * photos, dimension - 12, generator=generator)
    mixing = torch.linalg.qr(torch.randn(dimension, dimension, generator=torch.Generator().manual_seed(9)))[0]
    rows = torch.cat([identity, nuisance, rest], 1) @ mixing
    return F.normalize(rows, dim=1), torch.arange(people).repeat_interleave(photos)


def drawn_triplets(count: int, dimension: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [F.normalize(torch.randn(count, dimension, generator=generator).double(), dim=1) for _ in range(3)]


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_autograds(seed):
    weight = torch.randn(5, 12, generator=torch.Generator().manual_seed(seed)).double().requires_grad_()
    parts = drawn_triplets(7, 12, seed)
    (expected,) = torch.autograd.grad(triplets.loss(weight, *parts), weight)
    torch.testing.assert_close(triplets.gradient(weight.detach(), *parts), expected)


def test_one_triplet_by_hand():
    """W = 1: S(a,p) = cos 60°, S(a,n) = 0; P = e^0.5 / (e^0.5 + 1)."""
    a, p, n = (torch.tensor([row]) for row in ([1.0, 0.0], [0.5, math.sqrt(0.75)], [0.0, 1.0]))
    probability = math.exp(0.5) / (math.exp(0.5) + 1)
    assert triplets.loss(torch.eye(2), a, p, n).item() == pytest.approx(-math.log(probability), abs=1e-6)
    d = (p - n)[0]
    update = (1 - probability) * (torch.outer(a[0], d) + torch.outer(d, a[0]))
    torch.testing.assert_close(triplets.gradient(torch.eye(2), a, p, n), -update)


def test_hardest_negatives_are_the_most_similar_of_others():
    batch = torch.tensor([[1.0, 0.0], [0.99, 0.1], [0.6, 0.8], [0.9, 0.4], [-1.0, 0.0]])
    subjects = torch.tensor([0, 0, 1, 2, 3])
    assert triplets.hardest_negatives(torch.eye(2), batch, subjects, torch.tensor([0, 2])).tolist() == [3, 3]
    with pytest.raises(ValueError, match="second person"):
        triplets.hardest_negatives(torch.eye(2), batch, torch.zeros(5), torch.tensor([0]))


def test_the_start_is_the_principal_components():
    rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([9.0, 1, 5, 1, 1, 1]) + 3
    start = triplets.principal_components(rows, 2)
    torch.testing.assert_close(start @ start.T, torch.eye(2), atol=1e-4, rtol=0)
    assert start.abs().argmax(dim=1).tolist() == [0, 2]
    with pytest.raises(ValueError, match="principal components"):
        triplets.principal_components(rows, 7)


def test_more_steps_lower_the_loss_and_strangers_profit():
    descriptors, subjects = faces(60, 5)
    others, other_subjects = faces(50, 5, seed=1)
    probe = _all_triplets(others, other_subjects)
    losses, rates = [], []
    for steps in (0, 30, 300):
        config = triplets.Config(dimension=12, steps=steps, batch=64, rate=0.5, scale=2.0)
        weight = triplets.fit(descriptors, subjects, config)
        losses.append(triplets.loss(weight, *probe).item())
        rates.append(triplets.true_accepts((others @ weight.T).numpy(), other_subjects.numpy(), 1e-2))
    assert losses == sorted(losses, reverse=True)
    assert rates[2] > rates[0] + 0.1
    assert rates[2] > triplets.true_accepts(others.numpy(), other_subjects.numpy(), 1e-2) + 0.1, (
        "better than the cosine"
    )


def _all_triplets(descriptors: torch.Tensor, subjects: torch.Tensor) -> list[torch.Tensor]:
    """Each photo with the next of its person and one of the next person."""
    n = torch.arange(len(subjects))
    mates = torch.where(subjects.roll(-1) == subjects, n.roll(-1), n - 4)
    return [descriptors, descriptors[mates], descriptors[(n + 7) % len(n)]]


def test_the_same_seed_gives_the_same_matrix_and_the_best_step_is_kept():
    descriptors, subjects = faces(20, 4)
    config = triplets.Config(dimension=8, steps=40, batch=32, rate=0.5, check_every=10)
    torch.testing.assert_close(triplets.fit(descriptors, subjects, config), triplets.fit(descriptors, subjects, config))
    seen = []

    def score(weight: torch.Tensor) -> float:
        seen.append(weight)
        return [0.1, 0.2, 0.9, 0.3, 0.4][len(seen) - 1]

    assert triplets.fit(descriptors, subjects, config, score) is seen[2]
    assert len(seen) == 5


def test_people_with_one_photo_give_no_triplets():
    with pytest.raises(ValueError, match="two photos"):
        triplets.fit(torch.eye(4), torch.arange(4), triplets.Config(dimension=2))


def test_true_accepts_by_hand():
    """Strangers score cos 20°, 30°, 90°, 100°; mates cos 10° and 70°."""
    angles = np.radians([0, 10, 30, 100])
    vectors = np.stack([np.cos(angles), np.sin(angles)], 1)
    subjects = np.array([0, 0, 1, 1])
    assert triplets.true_accepts(vectors, subjects, 0.1) == 0.5
    assert triplets.true_accepts(vectors, subjects, 0.25) == 0.5
    assert triplets.true_accepts(vectors, subjects, 0.5) == 1.0


@pytest.mark.parametrize("mean", [0.0, 3.0])
def test_training_beats_the_cosine_on_people_it_never_saw_whatever_the_mean(mean: float):
    parts = {"train": faces(80, 6), "val": faces(40, 6, seed=1), "test": faces(40, 6, seed=2)}
    samples, rows = [], []
    for split, (descriptors, subjects) in parts.items():
        samples += [Sample("s", str(i), Path(), split, subject=f"{split} {n}") for i, n in enumerate(subjects.tolist())]
        rows.append(torch.nn.functional.normalize(descriptors + mean * torch.ones(24) / 24**0.5, dim=1))
    people = Described(samples, torch.cat(rows).numpy())
    config = triplets.Config(dimension=12, steps=300, batch=64, rate=0.5, check_every=50)
    projection = tpe.train(people, config, held_out=20)
    test = people.of("test")
    by_tpe = projection.project(test.descriptors)
    assert (
        triplets.true_accepts(by_tpe, test.subjects, 1e-2)
        > triplets.true_accepts(test.descriptors, test.subjects, 1e-2) + 0.05
    )
    told = tpe.report(people, projection)
    assert told.count("TAR %") == 4
    assert told.splitlines()[0] in ("mean taken off: yes", "mean taken off: no")


def test_the_people_who_calibrate_choose_nothing_and_those_who_choose_are_not_fitted_to():
    """Other validation and test people change nothing; with all people held out nobody is left to be fitted to."""
    descriptors, subjects = faces(60, 6)
    config = triplets.Config(dimension=12, steps=60, batch=64, rate=0.5, check_every=20)

    def trained(seed: int) -> LearnedProjection:
        parts = {"train": (descriptors, subjects), "val": faces(30, 6, seed=seed), "test": faces(30, 6, seed=seed + 1)}
        samples = [
            Sample("s", str(i), Path(), split, subject=f"{split} {n}")
            for split, (_, numbers) in parts.items()
            for i, n in enumerate(numbers.tolist())
        ]
        rows = torch.cat([rows for rows, _ in parts.values()]).numpy()
        return tpe.train(Described(samples, rows), config, held_out=15)

    np.testing.assert_allclose(trained(3).weight, trained(5).weight, atol=1e-5)
    with pytest.raises(ValueError, match="two people"):
        tpe.train(
            Described(
                [Sample("s", str(i), Path(), "train", subject=f"{n}") for i, n in enumerate(subjects.tolist())],
                descriptors.numpy(),
            ),
            config,
            held_out=60,
        )
