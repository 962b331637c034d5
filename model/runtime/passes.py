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

    A descriptor is the mean of a chip's and of its mirror image's, each of unit length, at unit length. Age, gender and
    smile are read of the chip alone, to which the mirror image brings nothing that validation could tell from chance
    (docs/log.md, 'attributes without the mirror'), but for the second readings that gain by it.
    """
    maps = _maps_of_both(network, chips)
    of_chips = [both.chunk(2)[0] for both in maps]
    second = shared_heads.with_mirror_images(network.second_readings(maps, shared_heads.TASKS_READ))
    attributes = read(network.branches(of_chips, ATTRIBUTES, second))
    poses = {CHIP_POSE: second["pose"].float()} if second else {}
    return {**attributes, "descriptor": _mean_descriptors(network, maps), **poses}


def descriptors(network: AllInOne, chips: Tensor) -> Tensor:
    """Return the descriptors [K, 512] of aligned chips alone: those that describe() returns."""
    return _mean_descriptors(network, _maps_of_both(network, chips))


def _maps_of_both(network: AllInOne, chips: Tensor) -> list[Tensor]:
    """Return the maps of all stages for chips [K, 3, S, S], followed by those for their mirror images."""
    return network.trunk(torch.cat([chips, chips.flip(3)]), len(network.stages))


def _mean_descriptors(network: AllInOne, maps: Sequence[Tensor]) -> Tensor:
    """Return the mean descriptors [K, 512], of unit length, of what _maps_of_both() returned."""
    of_both = F.normalize(network.branches(maps, ("descriptor",))["descriptor"].float())
    of_chips, of_mirror_images = of_both.chunk(2)
    return F.normalize(of_chips + of_mirror_images)


def read(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's raw outputs as model.tasks reads them; what is no task stays, in float32."""
    return {
        name: tasks.TASKS[name].read(value) if name in tasks.TASKS else value.float() for name, value in outputs.items()
    }
