"""Second readings of age, gender, smile and head pose, from stages that learnt identity and stay as they are.

The deep branches have stages of their own, which know the training photos by heart after a while; the identity network
never saw their labels. The local branch reads the pose of a region, these heads of the chip, where every face lies
alike. Both readings err in different places, and their mean errs less than either (docs/log.md, 'read twice').

The last stages tell people apart and have learnt to disregard whether a person smiles. The smile is therefore read from
the map of stage 5, in which mouth and eyes still have their places (docs/log.md, 'A smile is in stage 5').
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.tasks import TASKS

PART = "shared_heads"
"""The name of these weights in a checkpoint."""
SHARES = {"age": 0.6, "gender": 0.4, "smile": 0.5}
"""What counts of a second reading in the answer by task, as the validation part has it (docs/log.md, 'read twice').

The second reading of the pose is mixed in by the pipeline, which knows how chips lie.
"""
TASKS_READ = (*SHARES, "pose")
POSE_UNIT = 10.0
"""Degrees for which an output of 1 of the pose's head stands."""
HIDDEN = 512
CELLS = 2
"""Stage 6's map is averaged over so many cells a side for features()."""
MAP_CELLS = 7
"""A map has so many cells a side after the convolutions of a MapHead."""


class MapHead(nn.Module):
    """Two convolutions on a map of `channels`, then two layers for each of the tasks, which have so many `outputs`."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, channels: int, outputs: Mapping[str, int], stride: int, width: int, hidden: int, dropped: float
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels, 1, 1))
        self.register_buffer("deviation", torch.ones(channels, 1, 1))
        self.narrow = nn.Sequential(nn.Dropout2d(dropped / 2), nn.Conv2d(channels, width, 1), nn.PReLU(width))
        self.around = nn.Sequential(nn.Conv2d(width, width, 3, stride, 1), nn.PReLU(width))
        self.heads = nn.ModuleDict(
            {name: _head(width * MAP_CELLS**2, hidden, count, dropped) for name, count in outputs.items()}
        )

    def standardise(self, maps: Tensor) -> None:
        """Learn mean and deviation of the channels from some maps [K, channels, H, W]."""
        self.mean.copy_(maps.mean(dim=(0, 2, 3))[:, None, None])
        self.deviation.copy_(maps.std(dim=(0, 2, 3))[:, None, None] + 0.05)

    def forward(self, maps: Tensor, wanted: Collection[str] = TASKS_READ) -> dict[str, Tensor]:
        """Maps [K, channels, H, W] → logits [K, n] of those of the wanted tasks that this head has."""
        if self.heads.keys().isdisjoint(wanted):
            return {}
        standard = ((maps - self.mean) / self.deviation).to(next(self.parameters()).dtype)
        cells = F.adaptive_avg_pool2d(self.around(self.narrow(standard)), MAP_CELLS).flatten(1)
        return {name: head(cells) for name, head in self.heads.items() if name in wanted}


class SharedHeads(nn.Module):
    """Heads on what the identity network's stages 5 to 7 make of a chip.

    `width` is that of features(); `ages` the number of ages told apart; `channels` are those of stages 5 and 6.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, ages: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        counts = {"age": ages, "gender": TASKS["gender"].outputs}
        self.heads = nn.ModuleDict({name: _head(width, HIDDEN, count, 0.5) for name, count in counts.items()})
        self.heads["pose"] = _head(width, HIDDEN, 3, 0.1)
        self.stage5 = MapHead(channels[0], {"smile": TASKS["smile"].outputs}, 2, width=48, hidden=64, dropped=0.6)
        self.stage6 = MapHead(channels[1], counts, 1, width=64, hidden=256, dropped=0.4)

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> SharedHeads:
        """Build the heads that the weights belong to. Raises RuntimeError or KeyError where they do not fit."""
        channels = len(weights["stage5.mean"]), len(weights["stage6.mean"])
        heads = cls(len(weights["mean"]), len(weights["heads.age.4.bias"]), channels)
        heads.load_state_dict(weights)
        return heads

    def forward(
        self, stage5: Tensor, stage6: Tensor, descriptor: Tensor, wanted: Collection[str] = TASKS_READ
    ) -> dict[str, Tensor]:
        """Maps [K, C, H, W] and descriptors [K, 512] of chips → the wanted second readings.

        They are logits as model.tasks.TASKS reads them; age and gender have two heads, whose chances are averaged. The
        pose [K, 3] is roll, pitch and yaw in degrees, the roll that of the face in its chip.
        """
        outputs = self.read_features(stage6, descriptor, wanted)
        for name, of_map in self.stage6(stage6, wanted).items():
            outputs[name] = mixed(outputs[name], of_map, 0.5)
        outputs |= self.stage5(stage5, wanted)
        if "pose" in outputs:
            outputs["pose"] = outputs["pose"].float() * POSE_UNIT
        return outputs

    def read_features(
        self, stage6: Tensor, descriptor: Tensor, wanted: Collection[str] = TASKS_READ
    ) -> dict[str, Tensor]:
        """Return the raw outputs [K, n] of the heads on features() alone: age, gender, and pose by POSE_UNIT."""
        standard = ((features(stage6, descriptor) - self.mean) / self.deviation).to(next(self.parameters()).dtype)
        return {name: head(standard) for name, head in self.heads.items() if name in wanted}


def _head(width: int, hidden: int, outputs: int, dropped: float) -> nn.Sequential:
    """Return a head that does without a share of its features, another one each time, while it learns."""
    first = [nn.Dropout(dropped), nn.Linear(width, hidden), nn.PReLU()]
    return nn.Sequential(*first, nn.Dropout(0.8 * dropped), nn.Linear(hidden, outputs))


def features(stage6: Tensor, descriptor: Tensor) -> Tensor:
    """Return the features [K, width] of stage 6's map [K, C, H, W] and the descriptor [K, 512] of any length."""
    pooled = F.adaptive_avg_pool2d(stage6.float(), CELLS).flatten(1)
    return torch.cat([F.normalize(descriptor.float()) * descriptor.shape[1] ** 0.5, pooled], dim=1)


def read_twice(own: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the readings [K, n] by task of the deep branches, those that have a second one mixed with it by SHARES."""
    return {
        name: mixed(reading, second[name], SHARES[name]) if name in second else reading for name, reading in own.items()
    }


def mixed(own: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the logarithm of the mean of two readings' chances, both logits [K, n]; `share` is that of the second."""
    chances = (1 - share) * own.float().softmax(dim=1) + share * second.float().softmax(dim=1)
    return chances.clamp(min=1e-9).log()
