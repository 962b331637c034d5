"""The two passes over crops as functions of the network: what both engines compute, converted or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from model import shared_heads, tasks
from model.network import AllInOne
from model.runtime.engines.protocol import ATTRIBUTES, CHIP_POSE, DETECT

Pass = Callable[[AllInOne, Tensor], dict[str, Tensor]]
"""From the network and crops uint8 [K, 3, S, S] to outputs [K, …] by name, as model.tasks reads them."""


def detect(network: AllInOne, crops: Tensor) -> dict[str, Tensor]:
    """Return the DETECT outputs of crops."""
    return read(network(crops, DETECT))


def describe(network: AllInOne, chips: Tensor) -> dict[str, Tensor]:
    """Return the DESCRIBE outputs of aligned chips; with shared heads the chips' pose is read too.

    A descriptor has unit length. That of a network with `config.mirror` is the mean of the chip's and of its mirror
    image's, each of unit length, and the second readings that gain by the mirror image are also of it. All else is read
    of the chip alone, to which the mirror image brings nothing that validation could tell from chance (docs/log.md,
    'attributes without the mirror').
    """
    maps = network.trunk(_views(network, chips), len(network.stages))
    second = network.second_readings(maps, shared_heads.TASKS_READ)
    descriptor = _descriptors_of_views(network, maps)
    if network.config.mirror:
        maps = [both.chunk(2)[0] for both in maps]
        second = shared_heads.with_mirror_images(second)
    poses = {CHIP_POSE: second["pose"].float()} if second else {}
    return {**read(network.branches(maps, ATTRIBUTES, second)), "descriptor": descriptor, **poses}


def descriptors(network: AllInOne, chips: Tensor) -> Tensor:
    """Return the descriptors [K, 512] of aligned chips alone: those that describe() returns."""
    return _descriptors_of_views(network, network.trunk(_views(network, chips), len(network.stages)))


def _views(network: AllInOne, chips: Tensor) -> Tensor:
    """Return what a descriptor is made of: chips [K, 3, S, S], where it takes them followed by their mirror images."""
    return torch.cat([chips, chips.flip(3)]) if network.config.mirror else chips


def _descriptors_of_views(network: AllInOne, maps: Sequence[Tensor]) -> Tensor:
    """Return descriptors [K, 512] of unit length, of the maps of all stages that _views() of chips led to."""
    of_views = F.normalize(network.branches(maps, ("descriptor",))["descriptor"].float())
    if not network.config.mirror:
        return of_views
    of_chips, of_mirror_images = of_views.chunk(2)
    return F.normalize(of_chips + of_mirror_images)


def read(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's raw outputs as model.tasks reads them; what is no task stays, in float32."""
    return {
        name: tasks.TASKS[name].read(value) if name in tasks.TASKS else value.float() for name, value in outputs.items()
    }
