"""The networks as modules from pixels uint8 [K, H, W, 3] to a tuple of what is read of them: what gets converted."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from model import checkpoint
from model.network import AllInOne
from model.proposal_network import ProposalNetwork
from model.runtime import passes
from model.runtime.engines.protocol import CHIP_POSE, DESCRIBE, DETECT, GEOMETRY, SECOND
from model.runtime.engines.pytorch import load_proposer, load_screening
from model.runtime.screening import SIZE
from model.screening_network import ScreeningNetwork, read_screening


class CropReader(nn.Module):
    """One pass, or the mirror images' part of the second, in one graph."""

    def __init__(self, network: AllInOne, which: passes.Pass, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.which = which
        self.names = names

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Crops uint8 [K, S, S, 3] → the pass's outputs in the order of their names."""
        outputs = self.which(self.network, crops.permute(0, 3, 1, 2))
        return tuple(outputs[name] for name in self.names)


class LevelReader(nn.Module):
    """The proposal network on levels with the colours last."""

    names = ("map",)

    def __init__(self, network: ProposalNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, levels: Tensor) -> Tensor:
        """Levels uint8 [B, H, W, 3] → [B, 4, H/8, W/8]."""
        found: Tensor = self.network(levels.permute(0, 3, 1, 2))
        return found


class ScreenReader(nn.Module):
    """The screening network and the reading of its outputs in one graph."""

    names = ("score", "placement")

    def __init__(self, network: ScreeningNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Crops uint8 [K, SIZE, SIZE, 3] → scores [K] and placements [K, 4]."""
        return read_screening(self.network(crops.permute(0, 3, 1, 2)))


Reader = CropReader | LevelReader | ScreenReader


def inference_modules(loaded: checkpoint.Checkpoint) -> Iterator[tuple[str, Reader, Tensor]]:
    """Yield the name, module and an example input of each model of a checkpoint."""
    network = checkpoint.build_network(loaded)
    size = network.config.input_size
    second = tuple(SECOND.values()) if network.shared_heads is not None else ()
    described = (*DESCRIBE, CHIP_POSE, *second) if second else DESCRIBE
    if network.chip_geometry is not None:
        described = (*DESCRIBE, *GEOMETRY, *second)
    for name, which, outputs in (
        ("detect", passes.detect, DETECT),
        ("describe", passes.describe, described),
        ("mirror", passes.mirror, ("descriptor", *second)),
    ):
        yield name, CropReader(network, which, outputs).eval(), torch.zeros(2, size, size, 3, dtype=torch.uint8)
    if loaded.holds("proposals"):
        yield "propose", LevelReader(load_proposer(loaded)).eval(), torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    if loaded.holds("screening"):
        yield "screen", ScreenReader(load_screening(loaded)).eval(), torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
