"""Learn the triplet probabilistic embedding (Sankaranarayanan et al. 2016, the paper's reference 41): 512 → 128.

A matrix W makes P = exp S(a, p) / (exp S(a, p) + exp S(a, n)) large for triplets of an anchor, another photo of the
same person and one of somebody else; S(x, y) = (W x)·(W y) of unit descriptors. `python -m model.tpe` trains it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.identity.projection import LearnedProjection

DIMENSION = 128
"""n of the TPE paper."""
FAR = 1e-3
"""False accept rate that the choice of step is made at."""


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
    """Return the first principal directions [n, D] of descriptors [N, D]: the start of W.

    Raises ValueError when there are not that many.
    """
    if dimension > min(descriptors.shape):
        raise ValueError(f"{tuple(descriptors.shape)} descriptors have no {dimension} principal components")
    centred = (descriptors - descriptors.mean(dim=0)).double()
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    start: Tensor = vectors.flip(1)[:, :dimension].T.float().contiguous()
    return start


def similarity(weight: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return the similarities S [T] of the TPE paper between rows of two [T, D]."""
    scores: Tensor = (F.linear(first, weight) * F.linear(second, weight)).sum(dim=1)
    return scores


def loss(weight: Tensor, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the mean of −log P over triplets of unit descriptors [T, D]."""
    margin = similarity(weight, anchors, positives) - similarity(weight, anchors, negatives)
    return F.softplus(-margin).mean()


def gradient(weight: Tensor, anchors: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Return the gradient [n, D] of `loss`: the mean of −(1 − P) · W (a dᵀ + d aᵀ) with d = p − n, in closed form."""
    difference = positives - negatives
    anchors_w = F.linear(anchors, weight)
    difference_w = F.linear(difference, weight)
    wrong = 1 - torch.sigmoid((anchors_w * difference_w).sum(dim=1, keepdim=True))
    return -((wrong * anchors_w).T @ difference + (wrong * difference_w).T @ anchors) / len(anchors)


def hardest_negatives(weight: Tensor, descriptors: Tensor, subjects: Tensor, anchors: Tensor) -> Tensor:
    """Return for each anchor [A], an index into the batch [B, D], the index of the most similar other person's photo.

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
    """Fit W [n, D] by SGD to unit descriptors [N, D] of people [N] with two photos or more.

    With `score` (higher is better, on other people) the best W of those seen every `check_every` steps, the start
    included; without it the last. Raises ValueError when fewer than two people have two photos.
    """
    people = [torch.nonzero(subjects == s)[:, 0] for s in torch.unique(subjects)]
    people = [photos for photos in people if len(photos) > 1]
    if len(people) < 2:
        raise ValueError("triplets need two people with two photos each")
    generator = torch.Generator().manual_seed(config.seed)
    weight = principal_components(descriptors, config.dimension) * config.scale
    best = weight
    best_score = score(weight) if score else -torch.inf
    for step in range(1, config.steps + 1):
        anchors, positives = _pairs(people, config.batch, generator)
        batch = torch.cat([anchors, positives])
        numbers = torch.arange(len(anchors))
        negatives = batch[hardest_negatives(weight, descriptors[batch], subjects[batch], numbers)]
        rate = config.rate * (1 - (step - 1) / config.steps)
        triplet = descriptors[anchors], descriptors[positives], descriptors[negatives]
        weight = weight - rate * gradient(weight, *triplet)
        if score and step % config.check_every == 0 and (now := score(weight)) > best_score:
            best = weight
            best_score = now
    return best if score else weight


def _pairs(people: list[Tensor], count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw two different photos of each of `count` random people."""
    chosen = torch.randint(len(people), (count,), generator=generator).tolist()
    pairs = [people[i][torch.randperm(len(people[i]), generator=generator)[:2]] for i in chosen]
    first, second = torch.stack(pairs).unbind(dim=1)
    return first, second


def part_of(projection: LearnedProjection) -> dict[str, Tensor]:
    """Return a projection as a part of a checkpoint."""
    return {"weight": torch.from_numpy(projection.weight), "mean": torch.from_numpy(projection.mean)}


def true_accepts(vectors: NDArray[np.floating], subjects: NDArray[np.int64], far: float = FAR) -> float:
    """Return the share of mates accepted at that false accept rate, over all pairs of vectors [N, D], by cosine."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    first, second = np.triu_indices(len(units), 1)
    scores = (units @ units.T)[first, second]
    genuine = subjects[first] == subjects[second]
    strangers = scores[~genuine]
    last = len(strangers) - 1 - int(far * len(strangers))
    return float((scores[genuine] > np.partition(strangers, last)[last]).mean())
