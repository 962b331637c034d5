"""The second pass: what aligned chips show, and where that is doubtful also their mirror images.

The paper takes the mean of the descriptors of a chip and of its mirror image (section III-D), so that each face passes
the network twice. The second time helps most with faces that are hard to tell apart. Their descriptors are short before
they are brought to unit length. So the longer the descriptor of a chip is, the less its mirror image counts, and from
some length on the mirror image is not looked at (docs/log.md, 'Mirror images where they help'). It is looked at in any
case where gender or smile is undecided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.boxes import Array
from model.runtime.engines.protocol import SECOND, Engine, Outputs
from model.warps import Image

MIRROR_LENGTHS = "mirror_lengths"
"""Key of two lengths in a checkpoint's configuration: see mirror_weights(). model.tools.measure_lengths finds them."""
UNDECIDED = (0.2, 0.25)
"""A gender or smile whose chance is at most the first of these from 0.5 is also read of the mirror image, fully; from
the second on it is not. The mirror image has a fifth of a gender's weight and a quarter of a smile's, so that it cannot
turn an answer that is further from 0.5."""
SHORTEST = 1e-12
"""Length below which a descriptor has no direction."""


class SecondPass:
    """The second pass by an engine. `mirror_lengths` are those of its checkpoint: see mirror_lengths_of()."""

    def __init__(self, engine: Engine, mirror_lengths: Sequence[float] | None) -> None:
        self._engine = engine
        self._mirror_lengths = mirror_lengths

    def __call__(self, chips: Image) -> Outputs:
        """Return the outputs named in DESCRIBE for chips uint8 [K, S, S, 3].

        Those that GEOMETRY names are among them where the checkpoint has heads for them.
        Descriptors have unit length. They, gender and smile are also those of the mirror images, by their weights.
        """
        outputs = self._engine.describe(chips)
        second = {task: outputs.pop(name) for task, name in SECOND.items() if name in outputs}
        weights = mirror_weights(lengths(outputs["descriptor"]), self._mirror_lengths)
        of_readings = {task: np.maximum(weights, undecided(outputs[task])) for task in second}
        outputs["descriptor"] = unit(outputs["descriptor"])
        looked_at = np.flatnonzero(np.max([weights, *of_readings.values()], axis=0))
        if len(looked_at):
            mirrored = self._engine.mirror(chips[looked_at])
            of_chips = outputs["descriptor"][looked_at]
            outputs["descriptor"][looked_at] = mean_descriptors(of_chips, mirrored["descriptor"], weights[looked_at])
            for task, readings in second.items():
                change = mirrored[SECOND[task]] - readings[looked_at]
                outputs[task][looked_at] += of_readings[task][looked_at] / 2 * change
        return outputs


def mirror_lengths_of(config: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the two lengths in a checkpoint's configuration, None for one without. Raises ValueError for others."""
    if MIRROR_LENGTHS not in config:
        return None
    try:
        shorter, longer = map(float, config[MIRROR_LENGTHS])
    except (TypeError, ValueError):
        shorter, longer = np.nan, np.nan
    if not 0 <= shorter <= longer < np.inf:
        raise ValueError(f"{MIRROR_LENGTHS} are two lengths, the shorter first, not {config[MIRROR_LENGTHS]!r}")
    return shorter, longer


def mirror_weights(descriptor_lengths: Array, mirror_lengths: Sequence[float] | None) -> Array:
    """Return how much mirror images count beside their chips, 0–1 [K], by the lengths [K] of the chips' descriptors.

    Up to the first of `mirror_lengths` they count as much, from the second on not at all, and in between they fade, so
    that a descriptor hardly depends on the last digits of its length. None: all count as much.
    """
    if mirror_lengths is None:
        return np.ones(len(descriptor_lengths), np.float32)
    return np.asarray(np.interp(descriptor_lengths, mirror_lengths, (1.0, 0.0)), np.float32)


def undecided(chances: Array) -> Array:
    """Return how much mirror images count for an answer, 0–1 [K], by its chances 0–1 [K]: the more, the nearer 0.5."""
    return np.asarray(np.interp(np.abs(chances - 0.5), UNDECIDED, (1.0, 0.0)), np.float32)


def mean_descriptors(of_chips: Array, of_mirror_images: Array, weights: Array) -> Array:
    """Return the directions [K, D] between descriptors of any lengths; `weights` [K] are those of the mirror images."""
    return unit(unit(of_chips) + weights[:, None] * unit(of_mirror_images))


def lengths(vectors: Array) -> Array:
    """Return the lengths [...] of vectors [..., D]."""
    return np.asarray(np.linalg.norm(vectors, axis=-1))


def unit(vectors: Array) -> Array:
    """Return vectors [..., D] brought to unit length; what has no length stays as it is."""
    return np.asarray(vectors / np.maximum(lengths(vectors), SHORTEST)[..., None], np.float32)
