"""The learnt proposer's network: for each cell of a pyramid's level how likely a face is, and where its box lies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor, nn

from model.runtime.pyramid import STRIDE
from model.trunk import normalise


class ProposalNetwork(nn.Module):
    """Fully convolutional, output stride 8: face logit, centre offset and log side per cell.

    `separable` replaces each 3×3 convolution of the body by one that looks at each channel alone and a 1×1 one: a
    third of the multiplications. Without it the body is that of earlier checkpoints.
    """

    def __init__(self, width: int = 48, *, separable: bool = False) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(nn.Conv2d(3, half, 6, stride=4, padding=1), nn.PReLU(half))
        self.down = nn.Sequential(nn.Conv2d(half, width, 3, stride=2, padding=1), nn.PReLU(width))
        self.body = nn.ModuleList(_layer(width, separable) for _ in range(4))
        self.out = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.out.bias, 0.0)  # type: ignore[arg-type]
        with torch.no_grad():
            self.out.bias[0] = -4.0  # type: ignore[index]

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Build the network that the weights belong to. Raises RuntimeError where they fit neither body."""
        network = cls(separable="body.0.2.weight" in weights)
        network.load_state_dict(weights)
        return network

    def copy_ends(self, other: ProposalNetwork) -> None:
        """Take the weights before and after the body from another network of this width."""
        for name in ("stem", "down", "out"):
            getattr(self, name).load_state_dict(getattr(other, name).state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, 3, H, W], RGB 0–255, H and W multiples of 8, to [B, 4, H/8, W/8]: logit, dx, dy, log side."""
        x = self.down(self.stem(normalise(images).to(self.out.weight.dtype)))
        for layer in self.body:
            x = x + layer(x)
        y: Tensor = self.out(x)
        return y


def _layer(width: int, separable: bool) -> nn.Sequential:
    if not separable:
        return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width))
    by_channel = nn.Conv2d(width, width, 3, padding=1, groups=width)
    return nn.Sequential(by_channel, nn.Conv2d(width, width, 1), nn.PReLU(width))


def cell_centres(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the pixel centres [height, width, 2] (x, y) of the output cells."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1) * float(STRIDE) + STRIDE / 2
