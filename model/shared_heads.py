"""Second readings of age, gender and head pose, from stages that learnt identity and stay as they are.

The deep branches have stages of their own, which know the training photos by heart after a while; the identity network
never saw their labels. The local branch reads the pose of a region, these heads of the chip, where every face lies
alike. Both readings err in different places, and their mean errs less than either (docs/log.md, 'read twice').
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.tasks import TASKS

PART = "shared_heads"
"""The name of these weights in a checkpoint."""
SHARES = {"age": 0.5, "gender": 0.3}
"""What counts of a second reading in the answer by task, as the validation part has it (docs/log.md, 'read twice').

A second reading of the smile brought nothing; that of the pose is mixed in by the pipeline, which knows how chips lie.
"""
TASKS_READ = (*SHARES, "pose")
POSE_UNIT = 10.0
"""Degrees for which an output of 1 of the pose's head stands."""
HIDDEN = 512
CELLS = 2
"""Stage 6's map is averaged over so many cells a side."""


class SharedHeads(nn.Module):
    """A head a task on `width` features of a face, as features() makes them."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, ages: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.heads = nn.ModuleDict(
            {
                "age": _head(width, ages, dropped=0.5),
                "gender": _head(width, TASKS["gender"].outputs, dropped=0.5),
                "pose": _head(width, 3, dropped=0.1),
            }
        )

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> SharedHeads:
        """Build the heads that the weights belong to. Raises RuntimeError or KeyError where they do not fit."""
        heads = cls(len(weights["mean"]), len(weights["heads.age.4.bias"]))
        heads.load_state_dict(weights)
        return heads

    def forward(self, features: Tensor, wanted: Collection[str] = TASKS_READ) -> dict[str, Tensor]:
        """Features [K, width] as features() makes them → outputs by task: logits as model.tasks.TASKS reads them.

        The pose [K, 3] is roll, pitch and yaw in degrees, the roll that of the face in its chip.
        """
        standard = ((features - self.mean) / self.deviation).to(next(self.heads.parameters()).dtype)
        outputs = {name: head(standard) for name, head in self.heads.items() if name in wanted}
        if "pose" in outputs:
            outputs["pose"] = outputs["pose"].float() * POSE_UNIT
        return outputs


def _head(width: int, outputs: int, dropped: float) -> nn.Sequential:
    """Return a head that does without a share of its features, another one each time, while it learns."""
    first = [nn.Dropout(dropped), nn.Linear(width, HIDDEN), nn.PReLU()]
    return nn.Sequential(*first, nn.Dropout(0.8 * dropped), nn.Linear(HIDDEN, outputs))


def features(stage6: Tensor, descriptor: Tensor) -> Tensor:
    """Return what the heads read [K, width] of stage 6's map [K, C, H, W] and the descriptor [K, 512] of any length."""
    pooled = F.adaptive_avg_pool2d(stage6.float(), CELLS).flatten(1)
    return torch.cat([F.normalize(descriptor.float()) * descriptor.shape[1] ** 0.5, pooled], dim=1)


def mixed(own: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the logarithm of the mean of two readings' chances, both logits [K, n]; `share` is that of the second."""
    chances = (1 - share) * own.float().softmax(dim=1) + share * second.float().softmax(dim=1)
    return chances.clamp(min=1e-9).log()
