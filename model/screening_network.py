"""The screening network: whether a proposed region shows a face, and where exactly the face lies and how it is turned.

It stands between the proposer and the network, as MTCNN's refinement network does (Zhang et al. 2016): a crop costs a
thirtieth of what the network takes, so that the network looks at little else than faces, each well placed and upright.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.runtime.screening import SIZE
from model.trunk import normalise

OUTPUTS = 6
"""Logit of a face; shift of the upright region's centre and logarithm of its side, in units of the region that was
seen; sine and cosine of the roll."""

SLOPE = 0.1
"""Of its activations below 0: a fixed one, which trains in two thirds of the time of PReLU."""


class ScreeningNetwork(nn.Module):
    """About 0.4 M parameters and 7 M multiplications a crop."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _halving(3, 24)
        self.wide = _halving(24, 48)
        self.wide_residual = _same(48)
        self.narrow = _halving(48, 64)
        self.narrow_residual = _same(64)
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64 * (SIZE // 8) ** 2, 128), nn.LeakyReLU(SLOPE))
        self.out = nn.Linear(128, OUTPUTS)

    def forward(self, crops: Tensor) -> Tensor:
        """Map crops [K, 3, SIZE, SIZE], RGB 0–255, to [K, OUTPUTS]."""
        x = self.wide(self.stem(normalise(crops).to(self.out.weight.dtype)))
        x = x + self.wide_residual(x)
        x = self.narrow(x)
        x = x + self.narrow_residual(x)
        outputs: Tensor = self.out(self.features(x))
        return outputs


def read_screening(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Read outputs [K, OUTPUTS] as scores [K] and placements [K, 4]: shift x and y, log side, roll in degrees."""
    outputs = outputs.float()
    roll = torch.rad2deg(torch.atan2(outputs[:, 4:5], outputs[:, 5:6]))
    return outputs[:, 0].sigmoid(), torch.cat([outputs[:, 1:4], roll], dim=1)


def _halving(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, out, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE))


def _same(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(SLOPE))
