"""One table of tasks: a head, the branch it grows from, its loss and its reading are one entry.

Losses follow Eq. 4-8 of the paper and HyperFace's Eq. 1-5. A label that is NaN (or -1 for classes) is unlabelled and
adds nothing; a batch without a task's label key trains nothing of that head: the keys are the paper's sub-networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from model import landmarks as markup

AGE_SCALE = 25.0
AGE_CENTRE = 35.0
"""The age head speaks in units of AGE_SCALE years around AGE_CENTRE, so that its output starts in the right range."""
AGE_SIGMA = 3.0
"""Standard deviation of an annotated age where the set gives none (section III-C4)."""
AGE_SPREAD = 3.0
"""Standard deviation in years of the label distribution that a head of several outputs learns."""
AGE_SWITCH = 20_000
"""Iteration at which λ of Eq. 6 goes from 0 to 1 in the paper."""

Branch = Literal["local", "deep", "identity"]
Labels = Mapping[str, Tensor]


@dataclass(frozen=True)
class LossConfig:
    """What the recipe may choose of the losses."""

    age_lambda: float = 0.0  # λ of Eq. 6 at this step
    age_sigma: float = AGE_SIGMA
    landmarks: Literal["euclidean", "wing"] = "euclidean"
    identity_scale: float = 32.0
    identity_margin: float = 0.0


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def class_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy (Eq. 4, 5) of logits [K, 2] with classes [K], 0, 1 or a probability; NaN: unlabelled."""
    labelled = ~target.isnan()
    chance = target.nan_to_num()
    losses = F.cross_entropy(logits, torch.stack([1 - chance, chance], dim=1), reduction="none")
    return _mean(losses, labelled.float())


def landmark_loss(output: Tensor, target: Tensor, weight: Tensor, kind: str = "euclidean") -> Tensor:
    """Return the loss of landmarks [K, 42] against targets [K, 21, 2] in region units; invisible points weigh 0.

    'euclidean': sum_i v_i (dx² + dy²) / 2N (HyperFace Eq. 2). 'wing': Feng et al. 2018, w 0.1, ε 0.02, which keeps
    pulling where the squared error has gone flat.
    """
    labelled = ~target.isnan().any(dim=2)
    difference = output.view_as(target) - target.nan_to_num()
    if kind == "wing":
        width = 0.1
        curve = 0.02
        size = difference.abs()
        constant = width - width * math.log(1 + width / curve)
        points = torch.where(size < width, width * torch.log1p(size / curve), size - constant).sum(dim=2)
    else:
        points = difference.square().sum(dim=2) / 2
    points = points * weight * labelled
    return _mean(points.mean(dim=1), labelled.any(dim=1).float())


def euclidean_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference [K, n] over the labelled entries (visibility, pose: HyperFace Eq. 3, 4)."""
    labelled = ~target.isnan()
    return _mean((output - target.nan_to_num()).square(), labelled.float())


def pose_loss(output: Tensor, pose: Tensor) -> Tensor:
    """Return the mean squared difference to roll, pitch, yaw [K, 3] in radians (HyperFace Eq. 4); NaN: unlabelled.

    Of an output [K, 4] the first two are the roll's sine and cosine: a roll over the whole circle has no seam there.
    """
    if output.shape[1] == 4:
        pose = torch.cat([pose[:, :1].sin(), pose[:, :1].cos(), pose[:, 1:]], dim=1)
    return euclidean_loss(output, pose)


def age_loss(output: Tensor, age: Tensor, weight: float, sigma: float | Tensor) -> Tensor:
    """Return Eq. 6: (1 - λ) ½ (y - a)² + λ (1 - exp(-(y - a)² / 2σ²)), in years; NaN: unlabelled.

    σ is one number or that of each age [K]. The Euclidean half is in units of σ so that both halves meet in scale where
    λ switches. A head of several outputs learns the label's distribution beside it (Gao et al. 2017, DLDL).
    """
    labelled = ~age.isnan()
    squared = ((expected_age(output) - age.nan_to_num()) / sigma).square()
    losses = (1 - weight) * 0.5 * squared + weight * (1 - torch.exp(-0.5 * squared))
    if output.shape[1] > 1:
        losses = losses + _distribution_loss(output, age.nan_to_num())
    return _mean(losses, labelled.float())


def _distribution_loss(output: Tensor, age: Tensor) -> Tensor:
    """Return the cross-entropy [K] of logits [K, n] of ages 0 … n-1 with a Gaussian of AGE_SPREAD at the label."""
    ages = torch.arange(output.shape[1], dtype=torch.float32, device=output.device)
    distance = (ages - age.clamp(max=output.shape[1] - 1)[:, None]) / AGE_SPREAD
    target = (-0.5 * distance.square()).softmax(dim=1)
    return -(target * output.log_softmax(dim=1)).sum(dim=1)


def identity_loss(cosines: Tensor, subject: Tensor, scale: float, margin: float) -> Tensor:
    """Return Eq. 7, softmax over the subjects, on cosines [K, S] times a scale; subject [K], -1: unlabelled.

    A margin > 0 is taken off the true subject's cosine (CosFace, Wang et al. 2018).
    """
    labelled = subject >= 0
    target = subject.clamp(min=0)
    cosines = cosines - margin * F.one_hot(target, cosines.shape[1]) if margin else cosines
    return _mean(F.cross_entropy(cosines * scale, target, reduction="none"), labelled.float())


def embedding_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return 1 - cosine of embeddings [K, 128] with the teacher's; NaN rows: unlabelled."""
    labelled = ~target.isnan().any(dim=1)
    return _mean(1 - F.cosine_similarity(output, target.nan_to_num()), labelled.float())


def read_class(output: Tensor) -> Tensor:
    """Read logits [K, 2] as the probability [K] of class 1."""
    return output.float().softmax(dim=1)[:, 1]


def read_age(output: Tensor) -> Tensor:
    """Read output [K, 1] as years [K]; of logits [K, n] of ages 0 … n-1 the median, of the least absolute error."""
    if output.shape[1] == 1:
        return expected_age(output)
    chances = output.float().softmax(dim=1)
    up_to = chances.cumsum(dim=1)
    middle = (up_to < 0.5).sum(dim=1, keepdim=True).clamp(max=output.shape[1] - 1)
    chance = chances.gather(1, middle).clamp(min=1e-6)
    into = (0.5 - (up_to.gather(1, middle) - chance)) / chance
    return (middle - 0.5 + into)[:, 0]


def expected_age(output: Tensor) -> Tensor:
    """Return the age [K] that Eq. 6 learns: the output itself, or the mean of its distribution."""
    if output.shape[1] == 1:
        return output.float()[:, 0] * AGE_SCALE + AGE_CENTRE
    return output.float().softmax(dim=1) @ torch.arange(output.shape[1], dtype=torch.float32, device=output.device)


def read_landmarks(output: Tensor) -> Tensor:
    """Read output [K, 42] as points [K, 21, 2] in region units: 0 is the centre, ±0.5 are its sides."""
    return output.float().view(-1, markup.COUNT, 2)


def read_pose(output: Tensor) -> Tensor:
    """Read output [K, 3] (radians) or [K, 4] (sine and cosine of roll) as roll, pitch, yaw [K, 3] in degrees."""
    output = output.float()
    if output.shape[1] == 4:
        output = torch.cat([torch.atan2(output[:, :1], output[:, 1:2]), output[:, 2:]], dim=1)
    return torch.rad2deg(output)


def _clamp(output: Tensor) -> Tensor:
    return output.float().clamp(0, 1)


@dataclass(frozen=True)
class Task:
    """A head: its branch, output width, label key, loss weight, loss and reading."""

    branch: Branch
    outputs: int
    weight: float
    loss: Callable[[Tensor, Labels, LossConfig], Tensor]
    label: str
    read: Callable[[Tensor], Tensor] = field(default=lambda output: output.float())


TASKS: dict[str, Task] = {
    "detection": Task("local", 2, 1.0, lambda o, y, _: class_loss(o, y["detection"]), "detection", read_class),
    "landmarks": Task(
        "local",
        2 * markup.COUNT,
        5.0,
        lambda o, y, c: landmark_loss(o, y["landmarks"], y["landmark_weight"], c.landmarks),
        "landmarks",
        read_landmarks,
    ),
    "visibility": Task(
        "local", markup.COUNT, 0.5, lambda o, y, _: euclidean_loss(o, y["visibility"]), "visibility", _clamp
    ),
    "pose": Task("local", 3, 5.0, lambda o, y, _: pose_loss(o, y["pose"]), "pose", read_pose),
    "smile": Task("local", 2, 1.0, lambda o, y, _: class_loss(o, y["smile"]), "smile", read_class),
    "gender": Task("deep", 2, 2.0, lambda o, y, _: class_loss(o, y["female"]), "female", read_class),
    "age": Task(
        "deep",
        1,
        1.0,
        lambda o, y, c: age_loss(o, y["age"], c.age_lambda, y.get("age_sigma", c.age_sigma)),
        "age",
        read_age,
    ),
    "identity": Task(
        "identity",
        0,
        1.0,
        lambda o, y, c: identity_loss(o, y["subject"], c.identity_scale, c.identity_margin),
        "subject",
    ),
    "embedding": Task("identity", 128, 5.0, lambda o, y, _: embedding_loss(o, y["embedding"]), "embedding"),
}
"""Weights start from HyperFace's (1, 5, 0.5, 5, 2); a recipe may replace them. 'embedding' is the distillation of the
identity trunk's teacher; 'identity' the softmax whose fc8 exists in training only."""


def losses(outputs: Mapping[str, Tensor], labels: Labels, config: LossConfig) -> dict[str, Tensor]:
    """Return the unweighted loss of every task that the batch has both output and label for."""
    return {
        name: task.loss(outputs[name].float(), labels, config)
        for name, task in TASKS.items()
        if name in outputs and task.label in labels
    }


def total(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Return Eq. 8, the weighted sum of losses; a weight that the mapping lacks is the one in TASKS."""
    return torch.stack([parts[name] * weights.get(name, TASKS[name].weight) for name in parts]).sum()
