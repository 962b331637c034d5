"""One network on one device: crops → what a pass reads of them.

On CUDA crops leave from pinned memory without waiting for the copy, and their number is padded to a power of two, so
that the device meets only the few batch sizes that were warmed up.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from model.network import AllInOne
from model.runtime.passes import Pass

CHUNK = 64
"""Crops at once, at most and a power of two: bounds memory whatever the number of faces."""


class Inference:
    """The network moved to the device in a dtype. Not thread-safe on CUDA: one thread a device."""

    def __init__(self, network: AllInOne, device: str, dtype: torch.dtype = torch.float32) -> None:
        self.network = network.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = torch.device(device)
        self.size = network.config.input_size

    @torch.inference_mode()
    def __call__(self, which: Pass, crops: Tensor) -> dict[str, Tensor]:
        """A pass's outputs of crops uint8 [K, 3, S, S], on the CPU; all chunks are sent before any is waited for."""
        parts: dict[str, list[Tensor]] = defaultdict(list)
        for chunk in torch.split(crops, CHUNK):
            for name, value in which(self.network, self._send(chunk)).items():
                parts[name].append(value[: len(chunk)])
        return {name: torch.cat(values).cpu() for name, values in parts.items()}

    def warm_up(self, which: Pass) -> None:
        """One pass of every batch size there is: on CUDA the powers of two, elsewhere one crop."""
        count = 1
        while count <= (CHUNK if self.device.type == "cuda" else 1):
            self(which, torch.zeros(count, 3, self.size, self.size, dtype=torch.uint8))
            count *= 2

    def _send(self, crops: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return crops.to(self.device)
        return pad(crops, pin=True).to(self.device, non_blocking=True)


def pad(crops: Tensor, pin: bool = False) -> Tensor:
    """Crops [K, 3, S, S] with black ones behind them up to the next power of two, optionally in pinned memory."""
    count, channels, height, width = crops.shape
    whole = 1 << max(count - 1, 0).bit_length()
    padded = torch.empty(whole, height, width, channels, dtype=crops.dtype, pin_memory=pin).permute(0, 3, 1, 2)
    padded[:count] = crops
    padded[count:] = 0
    return padded
