"""The trunk's first stages in OpenVINO, for training what grows from them while they stay as they are.

On a CPU OpenVINO computes depthwise convolutions in bfloat16 three times as fast as PyTorch; it cannot learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from model.datasets import Array
from model.network import AllInOne


class _Stages(nn.Module):
    """The maps of the chosen stages, in order."""

    def __init__(self, network: AllInOne, chosen: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.chosen = tuple(chosen)

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        maps = self.network.trunk(crops, max(self.chosen) + 1)
        return tuple(maps[index] for index in self.chosen)


def compiled(
    module: nn.Module, example: Tensor, threads: int, precision: str = "bf16"
) -> Callable[[Tensor], list[Array]]:
    """Compile a module that does not learn for this CPU: tensor → its outputs as arrays, which are new ones each time.

    `precision` is OpenVINO's name of a number format; bfloat16 is float32 where the processor does not multiply it.
    Raises ImportError without OpenVINO.
    """
    from model.openvino_package import openvino  # noqa: PLC0415 - an extra that other training does without

    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in learning:  # tracing takes weights for constants
        parameter.requires_grad_(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OpenVINO traces, which PyTorch would have replaced one day
        converted = openvino.convert_model(module.eval(), example_input=example)
    for parameter in learning:
        parameter.requires_grad_(True)
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    options |= {"NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    model: Any = openvino.Core().compile_model(converted, "CPU", options)

    def run(inputs: Tensor) -> list[Array]:
        outputs = model(inputs.contiguous().numpy())
        return [outputs[position].copy() for position in range(len(outputs))]

    return run


class FrozenTrunk:
    """Crops uint8 [K, 3, S, S] → the trunk's maps that the wanted tasks read; empty tensors for the others.

    Raises ImportError without OpenVINO.
    """

    def __init__(self, network: AllInOne, wanted: Sequence[str], threads: int) -> None:
        self.depth = network.depth(wanted)
        size = network.config.input_size
        local = set(network.config.local) & set(wanted)
        self.chosen = [index for index in (0, 2, 4) if index < self.depth - 1 and local] + [self.depth - 1]
        example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
        self._run = compiled(_Stages(network, self.chosen), example, threads)

    def __call__(self, crops: Tensor) -> list[Tensor]:
        """Return the maps of stages 1 … depth, float32, channels last."""
        maps = [torch.empty(0)] * self.depth
        for index, values in zip(self.chosen, self._run(crops), strict=True):
            maps[index] = torch.from_numpy(values).contiguous(memory_format=torch.channels_last)
        return maps
