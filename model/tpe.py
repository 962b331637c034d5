"""Triplet probabilistic embedding (Sankaranarayanan et al. 2016, the paper's reference 41): 512 → 128.

A matrix W makes P = exp S(a, p) / (exp S(a, p) + exp S(a, n)) large for triplets of an anchor, another photo of the
same person and one of somebody else; S(x, y) = (W x)·(W y) of unit descriptors. python -m model.tpe trains it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model import checkpoint
from model.describe import Described, celeba_people

DIMENSION = 128
"""n of the TPE paper."""
PART = "tpe"
"""Where the checkpoint keeps W, as 'tpe.weight' [n, 512]."""
FAR = 1e-3
"""False accept rate that the choice of step is made at."""
HELD_OUT = 150
"""Training people whom W is not fitted to: the step is chosen on them, so that calibration's people choose nothing."""


@dataclass(frozen=True)
class Config:
    """How W is learnt. `scale` lengthens the start, which sharpens S like a temperature [our choice]."""

    dimension: int = DIMENSION
    steps: int = 1500
    batch: int = 256  # anchors; the negatives are mined among twice as many photos
    rate: float = 0.2
    scale: float = 2.0
    seed: int = 0
    check_every: int = 100


def principal_components(descriptors: Tensor, dimension: int) -> Tensor:
    """The first principal directions [n, D] of descriptors [N, D]: the start of W.

    Raises ValueError when there are not that many.
    """
    if dimension > min(descriptors.shape):
        raise ValueError(f"{tuple(descriptors.shape)} descriptors have no {dimension} principal components")
    centred = (descriptors - descriptors.mean(dim=0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    start: Tensor = vectors.flip(1)[:, :dimension].T.float().contiguous()
    return start


def similarity(weight: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """S of the TPE paper [T] between rows of two [T, D]."""
    scores: Tensor = (F.linear(first, weight) * F.linear(second, weight)).sum(dim=1)
    return scores


def loss(weight: Tensor, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Mean of −log P over triplets of unit descriptors [T, D]."""
    margin = similarity(weight, anchors, positives) - similarity(weight, anchors, negatives)
    return F.softplus(-margin).mean()


def gradient(weight: Tensor, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Gradient [n, D] of `loss`: the mean of −(1 − P) · W (a dᵀ + d aᵀ) with d = p − n, in closed form."""
    difference = positives - negatives
    anchors_w, difference_w = F.linear(anchors, weight), F.linear(difference, weight)
    wrong = 1 - torch.sigmoid((anchors_w * difference_w).sum(dim=1, keepdim=True))
    return -((wrong * anchors_w).T @ difference + (wrong * difference_w).T @ anchors) / len(anchors)


def hardest_negatives(weight: Tensor, descriptors: Tensor, subjects: Tensor, anchors: Tensor) -> Tensor:
    """For each anchor (an index [A] into the batch [B, D]) the most similar photo of somebody else: indices [A].

    Raises ValueError when the batch holds one person only.
    """
    projected = F.linear(descriptors, weight)
    scores = projected[anchors] @ projected.T
    mates = subjects[anchors][:, None] == subjects[None]
    if mates.all(dim=1).any():
        raise ValueError("negatives need a second person in the batch")
    return scores.masked_fill(mates, -torch.inf).argmax(dim=1)


def fit(
    descriptors: Tensor,
    subjects: Tensor,
    config: Config = Config(),
    score: Callable[[Tensor], float] | None = None,
) -> Tensor:
    """W [n, D] by SGD over unit descriptors [N, D] of people [N] with two photos or more.

    With `score` (higher is better, on other people) the best W of those seen every `check_every` steps, the start
    included; without it the last. Raises ValueError when fewer than two people have two photos.
    """
    people = [torch.nonzero(subjects == s)[:, 0] for s in torch.unique(subjects)]
    people = [photos for photos in people if len(photos) > 1]
    if len(people) < 2:
        raise ValueError("triplets need two people with two photos each")
    generator = torch.Generator().manual_seed(config.seed)
    weight = principal_components(descriptors, config.dimension) * config.scale
    best, best_score = weight, score(weight) if score else -torch.inf
    for step in range(1, config.steps + 1):
        anchors, positives = _pairs(people, config.batch, generator)
        batch = torch.cat([anchors, positives])
        numbers = torch.arange(len(anchors))
        negatives = batch[hardest_negatives(weight, descriptors[batch], subjects[batch], numbers)]
        rate = config.rate * (1 - (step - 1) / config.steps)
        triplet = descriptors[anchors], descriptors[positives], descriptors[negatives]
        weight = weight - rate * gradient(weight, *triplet)
        if score and step % config.check_every == 0 and (now := score(weight)) > best_score:
            best, best_score = weight, now
    return best if score else weight


def _pairs(people: list[Tensor], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two different photos of each of `count` people drawn at random."""
    chosen = torch.randint(len(people), (count,), generator=generator).tolist()
    pairs = [people[i][torch.randperm(len(people[i]), generator=generator)[:2]] for i in chosen]
    first, second = torch.stack(pairs).unbind(dim=1)
    return first, second


@dataclass(frozen=True, eq=False)
class Embedding:
    """W (x − mean): W [n, D] and the training people's mean descriptor [D], which is 0 for one learnt without it."""

    weight: Tensor
    mean: Tensor

    def project(self, descriptors: Tensor) -> Tensor:
        """[N, n] of descriptors [N, D]; not of unit length, so that they can still be pooled."""
        return F.linear(descriptors - self.mean, self.weight)

    def project_unit(self, descriptors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Projections [N, n] of descriptors [N, D] at unit length: their products are the similarities."""
        projected = self.project(torch.from_numpy(np.asarray(descriptors, np.float32)))
        return np.asarray(F.normalize(projected, dim=1).numpy(), np.float32)

    def part(self) -> dict[str, Tensor]:
        """As a part of a checkpoint."""
        return {"weight": self.weight, "mean": self.mean}

    @classmethod
    def of(cls, loaded: checkpoint.Checkpoint) -> Embedding | None:
        """That of a checkpoint, None when it has none. Raises CheckpointError for unfit tensors."""
        if f"{PART}.weight" not in loaded.tensors:
            return None
        part = loaded.part(PART)
        weight, mean = part["weight"], part.get("mean")
        mean = torch.zeros(weight.shape[-1]) if mean is None else mean
        if weight.ndim != 2 or mean.shape != weight.shape[1:]:
            raise checkpoint.CheckpointError(f"{PART}: weight {tuple(weight.shape)}, mean {tuple(mean.shape)}")
        return cls(weight, mean)


def true_accepts(vectors: NDArray[np.floating], subjects: NDArray[np.int64], far: float = FAR) -> float:
    """Share of mates accepted at that false accept rate, over all pairs of vectors [N, D], by cosine."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(units), 1)
    scores = (units @ units.T)[first, second]
    genuine = subjects[first] == subjects[second]
    strangers = scores[~genuine]
    last = len(strangers) - 1 - int(far * len(strangers))
    return float((scores[genuine] > np.partition(strangers, last)[last]).mean())


def train(people: Described, config: Config, held_out: int = HELD_OUT) -> Embedding:
    """From the train people; `held_out` of them choose the step, and whether the others' mean is taken off first.

    The descriptors of one network have a large mean that all faces share, another's have none: so both are tried. The
    validation people have no part in it: what they calibrate is measured on them for the first time. Raises ValueError
    when too few people are left.
    """
    part = people.of("train")
    subjects, numbers = part.subjects, np.unique(part.subjects)
    chosen = np.random.default_rng(config.seed).permutation(numbers)[:held_out]
    held = np.isin(subjects, chosen)
    descriptors = torch.from_numpy(part.descriptors[~held])
    mean = descriptors.mean(dim=0)
    found = []
    for centre in (torch.zeros_like(mean), mean):

        def score(weight: Tensor, centre: Tensor = centre) -> float:
            projected = Embedding(weight, centre).project(torch.from_numpy(part.descriptors[held]))
            return true_accepts(projected.numpy(), subjects[held])

        weight = fit(descriptors - centre, torch.from_numpy(subjects[~held]), config, score)
        found.append((score(weight), Embedding(weight, centre)))
    return max(found, key=lambda pair: pair[0])[1]


def report(people: Described, embedding: Embedding) -> str:
    """TAR at three FARs by the cosine and by the TPE, on each split."""
    lines = [f"mean taken off: {'yes' if embedding.mean.any() else 'no'}"]
    for split in ("val", "test"):
        part = people.of(split)
        for name, vectors in (("cosine", part.descriptors), ("tpe", _projected(embedding, part))):
            rates = [f"{100 * true_accepts(vectors, part.subjects, far):6.2f}" for far in (1e-4, 1e-3, 1e-2)]
            lines.append(f"{split:5} {name:6} TAR % at FAR 1e-4, 1e-3, 1e-2: {' '.join(rates)}")
    return "\n".join(lines)


def _projected(embedding: Embedding, part: Described) -> NDArray[np.float32]:
    return np.asarray(embedding.project(torch.from_numpy(part.descriptors)).numpy(), np.float32)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Trains the triplet embedding on CelebA's train people; some of them choose the step."
    )
    parser.add_argument("--weights", type=Path, default=checkpoint.SHIPPED, help="checkpoint of the network")
    parser.add_argument("--out", type=Path, required=True, help="where the part goes; join with model.checkpoint")
    parser.add_argument("--device", default="cpu")
    for name, kind in (("steps", int), ("batch", int), ("rate", float), ("scale", float), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Config, name))
    chosen = parser.parse_args()
    config = Config(steps=chosen.steps, batch=chosen.batch, rate=chosen.rate, scale=chosen.scale, seed=chosen.seed)
    people = celeba_people(checkpoint.load(chosen.weights), chosen.device)
    embedding = train(people, config)
    checkpoint.save(chosen.out, {PART: embedding.part()}, {PART: asdict(config)})
    sys.stdout.write(report(people, embedding) + "\n")


if __name__ == "__main__":
    main()
