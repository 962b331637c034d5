"""The two passes over crops as functions of the network: what both engines compute, converted or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model import chip_geometry, shared_heads, tasks
from model.network import AllInOne
from model.runtime.engines.protocol import CHIP_LANDMARKS, CHIP_POSE, CHIP_VISIBILITY, DESCRIBE, DETECT, SECOND

Pass = Callable[[AllInOne, Tensor], dict[str, Tensor]]
"""From the network and crops uint8 [K, 3, S, S] to outputs [K, …] by name, as model.tasks reads them."""


def detect(network: AllInOne, crops: Tensor) -> dict[str, Tensor]:
    """Return the DETECT outputs of crops."""
    return read(network(crops, DETECT))


def describe(network: AllInOne, chips: Tensor) -> dict[str, Tensor]:
    """Return the DESCRIBE outputs of aligned chips, descriptors of any length.

    With shared heads CHIP_POSE and what SECOND names come with them: the part of an answer that is the second reading.
    With heads for the chip's geometry CHIP_LANDMARKS and CHIP_VISIBILITY come, too, and CHIP_POSE is the mean of both
    heads' poses.
    """
    maps = network.trunk(chips, len(network.stages))
    second = network.second_readings(maps, shared_heads.TASKS_READ)
    of_chips = {CHIP_POSE: second["pose"].float()} if second else {}
    if network.chip_geometry is not None:
        geometry = network.chip_geometry(maps[2], maps[4])
        # Both rolls are what a chip leaves of it, a few degrees, so that their mean needs no care at 180°.
        pose = torch.lerp(of_chips.get(CHIP_POSE, geometry["pose"]), geometry["pose"], chip_geometry.GEOMETRY_SHARE)
        of_chips = {
            CHIP_POSE: pose,
            CHIP_LANDMARKS: geometry["landmarks"],
            CHIP_VISIBILITY: geometry["visibility"],
        }
    outputs = network.branches(maps, DESCRIBE, second)
    return {**of_chips, **read({name: outputs[name] for name in DESCRIBE}), **_second_parts(second)}


def mirror(network: AllInOne, chips: Tensor) -> dict[str, Tensor]:
    """Return what counts of the mirror images of aligned chips: descriptors of any length, and what SECOND names.

    All else is read of the chip alone, to which the mirror image brings nothing that validation could tell from chance
    (docs/log.md, 'attributes without the mirror').
    """
    maps = network.trunk(chips.flip(3), len(network.stages))
    second = network.second_readings(maps, tuple(SECOND))
    return {"descriptor": network.branches(maps, ("descriptor",))["descriptor"].float(), **_second_parts(second)}


def _second_parts(second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return chances [K] by the names of SECOND, each by the share of the answer that is the second reading's."""
    chances = read({task: second[task] for task in SECOND if task in second})
    return {SECOND[task]: shared_heads.SHARES[task] * chance for task, chance in chances.items()}


def read(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's raw outputs as model.tasks reads them; what is no task stays, in float32."""
    return {
        name: tasks.TASKS[name].read(value) if name in tasks.TASKS else value.float() for name, value in outputs.items()
    }
