"""Second readings of age and gender, from stages that learnt identity and stay as they are.

The deep branches have stages of their own, which know the training photos by heart after a while; the identity network
never saw their labels. Both err in different places, and the mean of both errs less than either (docs/log.md, 'age read
twice').
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.tasks import TASKS

PART = "shared_heads"
"""The name of these weights in a checkpoint."""
SHARES = {"age": 0.5, "gender": 0.3}
"""What counts of a second reading in the answer, by task: on the validation part, where the sum of both errs least. A
second reading of the smile brought nothing."""
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
                name: nn.Sequential(
                    nn.Dropout(0.5),
                    nn.Linear(width, HIDDEN),
                    nn.PReLU(),
                    nn.Dropout(0.4),
                    nn.Linear(HIDDEN, ages if name == "age" else TASKS[name].outputs),
                )
                for name in SHARES
            }
        )

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> SharedHeads:
        """Build the heads that the weights belong to. Raises RuntimeError or KeyError where they do not fit."""
        heads = cls(len(weights["mean"]), len(weights["heads.age.4.bias"]))
        heads.load_state_dict(weights)
        return heads

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Features [K, width] as features() makes them → logits by task, as model.tasks.TASKS reads them."""
        standard = ((features - self.mean) / self.deviation).to(next(self.heads.parameters()).dtype)
        return {name: head(standard) for name, head in self.heads.items()}


def features(stage6: Tensor, descriptor: Tensor) -> Tensor:
    """Return what the heads read [K, width] of stage 6's map [K, C, H, W] and the descriptor [K, 512] of any length."""
    pooled = F.adaptive_avg_pool2d(stage6.float(), CELLS).flatten(1)
    return torch.cat([F.normalize(descriptor.float()) * descriptor.shape[1] ** 0.5, pooled], dim=1)


def mixed(own: Tensor, second: Tensor, share: float) -> Tensor:
    """Return the logarithm of the mean of two readings' chances, both logits [K, n]; `share` is that of the second."""
    chances = (1 - share) * own.float().softmax(dim=1) + share * second.float().softmax(dim=1)
    return chances.clamp(min=1e-9).log()
