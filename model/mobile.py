"""The trunk of the preset `mobile`: MobileFaceNet (Chen et al. 2018) in seven stages, for crops of 112 × 112 pixels.

    stage                      1        2        3        4        5         6        7
    map of a crop           56², 64  28², 64  28², 64  14², 128  14², 128  7², 128  1², 512

A unit widens its input by a 1×1 convolution, looks at each channel alone by a 3×3 one, and narrows it again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXEL_MEAN = (127.5, 127.5, 127.5)
PIXEL_SCALE = 127.5
"""RGB mean and scale that this trunk was trained with; the zeros around a map are then a middle grey."""


class _Fixed(torch.autograd.Function):
    """PReLU whose slopes do not learn: half the time of PyTorch's backward pass, which makes their gradient anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, slope = ctx.saved_tensors
        gradient = gradients[0]
        slope = slope.view(1, -1, 1, 1)
        positive = torch.ops.aten.threshold_backward(gradient, x, 0)
        return torch.addcmul(gradient * slope, positive, 1 - slope), None


class Slopes(nn.PReLU):
    """PReLU by channel. Its slopes come from the identity network and stay as they are."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, width, H, W] to the same shape."""
        if not x.requires_grad:
            return super().forward(x)
        fixed: Tensor = _Fixed.apply(x, self.weight.to(x.dtype))  # type: ignore[no-untyped-call]
        return fixed


class Unit(nn.Module):
    """Inverted bottleneck; added to its input where `residual`, which wants equal widths and stride 1."""

    def __init__(self, width: int, inner: int, out: int, stride: int = 1, residual: bool = False) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, inner, 1)
        self.expand_prelu = Slopes(inner)
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner)
        self.depthwise_prelu = Slopes(inner)
        self.project = nn.Conv2d(inner, out, 1)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, width, H, W] to [K, out, ⌈H / stride⌉, ⌈W / stride⌉]."""
        inner = self.expand_prelu(self.expand(x))
        learns_on_cpu = inner.requires_grad and inner.device.type == "cpu"
        if self.depthwise.stride[0] > 1 and learns_on_cpu:
            with torch.autocast("cpu", enabled=False):  # its backward pass is slow in bfloat16
                inner = self.depthwise(inner.float())
        else:
            inner = self.depthwise(inner)
        y: Tensor = self.project(self.depthwise_prelu(inner))
        return x + y if self.residual else y


class Stem(nn.Module):
    """Stage 1: a 3×3 convolution of stride 2, then each channel alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, 2, 1)
        self.conv_prelu = Slopes(width)
        self.depthwise = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.depthwise_prelu = Slopes(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, 3, H, W] to [K, width, ⌈H / 2⌉, ⌈W / 2⌉]."""
        y: Tensor = self.depthwise_prelu(self.depthwise(self.conv_prelu(self.conv(x))))
        return y


class Gather(nn.Module):
    """Stage 7: widens the 7 × 7 map and weighs its places by channel: one number a channel, no activation."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(width, out, 1)
        self.expand_prelu = Slopes(out)
        self.depthwise = nn.Conv2d(out, out, 7, groups=out)

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, width, 7, 7] to [K, out, 1, 1]."""
        y: Tensor = self.depthwise(self.expand_prelu(self.expand(x)))
        return y


def mobile_stages(channels: tuple[int, ...]) -> nn.ModuleList:
    """Return the seven stages; the linear layer after the last is the identity branch's fc7."""
    c1, c2, c3, c4, c5, c6, c7 = channels
    return nn.ModuleList(
        [
            Stem(c1),
            Unit(c1, 2 * c1, c2, stride=2),
            nn.Sequential(*(Unit(c3, 2 * c3, c3, residual=True) for _ in range(4))),
            Unit(c3, 2 * c4, c4, stride=2),
            nn.Sequential(*(Unit(c5, 2 * c5, c5, residual=True) for _ in range(6))),
            nn.Sequential(Unit(c5, 4 * c6, c6, stride=2), *(Unit(c6, 2 * c6, c6, residual=True) for _ in range(2))),
            Gather(c6, c7),
        ]
    )
