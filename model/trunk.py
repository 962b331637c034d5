"""The trunks of the presets `paper`, `hyperface` and `residual`, each cut into stages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PIXEL_MEAN = (122.782, 117.001, 104.298)
PIXEL_SCALE = 256.0
"""RGB mean and scale that the identity trunk was trained with."""


def normalise(pixels: Tensor, mean: tuple[float, float, float] = PIXEL_MEAN, scale: float = PIXEL_SCALE) -> Tensor:
    """Return RGB pixels [K, 3, H, W], uint8 or float 0–255, as float32 with the mean and scale that a trunk takes."""
    return (pixels.float() - torch.tensor(mean, device=pixels.device).view(1, 3, 1, 1)) / scale


def alexnet_stages(channels: tuple[int, ...]) -> nn.ModuleList:
    """Return the paper's convolutions 1-7 (or HyperFace's 1-5). A stage's pooling opens the next: taps are unpooled."""
    kernels = ((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    stages = []
    width = 3
    for index, (out, (kernel, stride, padding)) in enumerate(zip(channels, kernels, strict=False)):
        pool = [nn.MaxPool2d(3, 2)] if index in (1, 2) else []
        stages.append(nn.Sequential(*pool, nn.Conv2d(width, out, kernel, stride, padding), nn.PReLU()))
        width = out
    return nn.ModuleList(stages)


class Residual(nn.Module):
    """ReLU(conv2(ReLU(conv1(x))) + x), 3×3."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, C, H, W] to the same shape."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)


class ResidualDown(nn.Module):
    """Halving block of dlib's: 3×3 stride 2 without padding, 3×3; shortcut a 2×2 mean; zeros fill what is smaller."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride=2)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [K, C, H, W] to [K, C', ⌈H/2⌉ or ⌊H/2⌋, …]."""
        y = self.conv2(F.relu(self.conv1(x)))
        short = F.avg_pool2d(x, 2)
        height, width = max(y.shape[2], short.shape[2]), max(y.shape[3], short.shape[3])
        y = F.pad(y, (0, width - y.shape[3], 0, height - y.shape[2]))
        short = F.pad(short, (0, width - short.shape[3], 0, height - short.shape[2], 0, y.shape[1] - short.shape[1]))
        return F.relu(y + short)


def residual_stages(channels: tuple[int, ...]) -> nn.ModuleList:
    """Return the seven stages of dlib's face recognition ResNet: 35², 17², 17², 8², 8², 4² and 2² pixels."""
    c1, c2, c3, c4, c5, c6, c7 = channels
    stem = [nn.Conv2d(3, c1, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    return nn.ModuleList(
        [
            nn.Sequential(*stem, Residual(c1), Residual(c1), Residual(c1)),
            ResidualDown(c1, c2),
            nn.Sequential(Residual(c3), Residual(c3), Residual(c3)),
            ResidualDown(c3, c4),
            nn.Sequential(Residual(c5), Residual(c5)),
            nn.Sequential(ResidualDown(c5, c6), Residual(c6), Residual(c6)),
            ResidualDown(c6, c7),
        ]
    )
