"""The second published identity network, which descriptors are taught by: mobilefacenet_a.npz, as its arrays say.

The trunk of the preset `mobile` was started from another one (model/teacher.py), which errs on other faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.datasets import shared_dir

FILE = "mobilefacenet_a.npz"
PIXEL_MEAN = 127.5
PIXEL_SCALE = 128.0


class IdentityTeacher(nn.Module):
    """A MobileFaceNet whose convolutions of stride 2 pad one row below and one column right only. It does not learn."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        for name, values in arrays.items():
            self.register_buffer(_attribute(name), torch.from_numpy(values.astype(np.float32)))

    @classmethod
    def read(cls, path: Path | None = None) -> IdentityTeacher:
        """Read the arrays of a file, by default that of the shared folder. Raises FileNotFoundError without it."""
        with np.load(path or shared_dir() / "data" / "teacher" / FILE) as arrays:
            return cls(dict(arrays))

    def forward(self, chips: Tensor) -> Tensor:
        """RGB chips [K, 3, 112, 112], 0–255, of the frame 'arcface' → descriptors [K, 192] of any length.

        Raises AttributeError where an array is missing.
        """
        x = (chips.float() - PIXEL_MEAN) / PIXEL_SCALE
        x = self._depthwise(self._convolve(x, "stage1.conv", 2), "stage1.depthwise")
        x = self._unit(self._convolve(x, "stage1.project"), "stage2", 2)
        for index in range(4):
            x = x + self._unit(x, f"stage3.{index}")
        x = self._unit(x, "stage4", 2)
        for index in range(6):
            x = x + self._unit(x, f"stage5.{index}")
        x = self._unit(x, "stage6.0", 2)
        for index in (1, 2):
            x = x + self._unit(x, f"stage6.{index}")
        gathered = self._depthwise(self._convolve(x, "stage7.expand"), "stage7.depthwise")
        return self._convolve(gathered, "stage7.linear").flatten(1)

    def _unit(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        inner = self._depthwise(self._convolve(x, f"{name}.expand"), f"{name}.depthwise", stride)
        return self._convolve(inner, f"{name}.project")

    def _depthwise(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        return self._convolve(x, name, stride, groups=x.shape[1])

    def _convolve(self, x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        """One convolution, and the activation after it where there is one."""
        weight = self.get_buffer(_attribute(f"{name}.weight"))
        if weight.shape[-1] == 3:
            x = F.pad(x, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        x = F.conv2d(x, weight, self.get_buffer(_attribute(f"{name}.bias")), stride, groups=groups)
        slopes = _attribute(f"{name}_prelu")
        return F.prelu(x, self.get_buffer(slopes)) if hasattr(self, slopes) else x


def _attribute(array: str) -> str:
    return array.replace(".", "_")
