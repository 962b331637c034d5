"""The trunks, each cut into seven stages, and the identity network that the residual trunk starts from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from model.network import AllInOne

PIXEL_MEAN = (122.782, 117.001, 104.298)
PIXEL_SCALE = 256.0
"""RGB mean and scale that the identity trunk was trained with."""


def normalise(pixels: Tensor) -> Tensor:
    """RGB pixels [K, 3, H, W] 0–255, uint8 or float → what the trunks take, float32."""
    return (pixels.float() - torch.tensor(PIXEL_MEAN, device=pixels.device).view(1, 3, 1, 1)) / PIXEL_SCALE


def alexnet_stages(channels: tuple[int, ...]) -> nn.ModuleList:
    """The paper's convolutions 1-7 (or HyperFace's 1-5). A stage's pooling opens the next, so taps are unpooled."""
    kernels = ((11, 4, 0), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1))
    stages, width = [], 3
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
        """[K, C, H, W] → the same shape."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + x)


class ResidualDown(nn.Module):
    """Halving block of dlib's: 3×3 stride 2 without padding, 3×3; shortcut a 2×2 mean; zeros fill what is smaller."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride=2)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """[K, C, H, W] → [K, C', ⌈H/2⌉ or ⌊H/2⌋, …]."""
        y = self.conv2(F.relu(self.conv1(x)))
        short = F.avg_pool2d(x, 2)
        height, width = max(y.shape[2], short.shape[2]), max(y.shape[3], short.shape[3])
        y = F.pad(y, (0, width - y.shape[3], 0, height - y.shape[2]))
        short = F.pad(short, (0, width - short.shape[3], 0, height - short.shape[2], 0, y.shape[1] - short.shape[1]))
        return F.relu(y + short)


def residual_stages(channels: tuple[int, ...]) -> nn.ModuleList:
    """dlib's face recognition ResNet in seven stages: 35², 17², 17², 8², 8², 4² and 2² pixels of a 150² crop."""  # noqa: D403
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


_TEACHER_NAMES = {
    "conv32_down": "0.0",
    "conv32_1": "0.3",
    "conv32_2": "0.4",
    "conv32_3": "0.5",
    "conv64_down": "1",
    "conv64_1": "2.0",
    "conv64_2": "2.1",
    "conv64_3": "2.2",
    "conv128_down": "3",
    "conv128_1": "4.0",
    "conv128_2": "4.1",
    "conv256_down": "5.0",
    "conv256_1": "5.1",
    "conv256_2": "5.2",
    "conv256_down_out": "6",
}
"""The teacher's block → where it stands in the stages."""


def load_teacher(network: AllInOne, path: Path, seed: int = 0) -> None:
    """Start a `residual` network from dlib's face recognition ResNet (an .npz of folded convolutions, CC0).

    fc7 and the linear map after it are set so that embedding(descriptor) is the teacher's 128-d descriptor; the
    descriptor's other 384 directions start as small random projections. Raises FileNotFoundError without the file,
    ValueError where it does not fit.
    """
    if network.config.trunk != "residual" or network.identity is None:
        raise ValueError("only a residual network with an identity branch can start from the teacher")
    with np.load(path) as arrays:
        teacher = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    state = {}
    for name, place in _TEACHER_NAMES.items():
        parts = ("",) if name == "conv32_down" else (".conv1", ".conv2")
        for part in parts:
            scale = _array(teacher, f"{name}{part}.scale")
            state[f"{place}{part}.weight"] = _array(teacher, f"{name}{part}.weight") * scale[:, None, None, None]
            state[f"{place}{part}.bias"] = _array(teacher, f"{name}{part}.bias")
    try:
        network.stages.load_state_dict(state)
        network.fork()
    except RuntimeError as error:
        raise ValueError(f"the teacher does not fit the network: {error}") from error
    _start_identity(network, _array(teacher, "fc.weight"), seed)


def _array(teacher: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in teacher:
        raise ValueError(f"the teacher lacks {name}")
    return teacher[name]


def _start_identity(network: AllInOne, projection: Tensor, seed: int) -> None:
    branch = network.identity
    assert branch is not None
    size, width = branch.fc7.weight.shape
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    known, free = basis[:, : len(projection)], basis[:, len(projection) :]
    noise = torch.randn(free.shape[1], width, generator=generator) * projection.std() * 0.2
    with torch.no_grad():
        branch.fc7.weight.copy_(known @ projection + free @ noise)
        branch.fc7.bias.zero_()
        branch.embedding.weight.copy_(known.T)
