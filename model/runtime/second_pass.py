"""The second pass: what aligned chips show, and where that is doubtful also their mirror images.

The paper means the descriptors of a chip and of its mirror image (section III-D), which costs a second look at each
face. It brings most for faces that are hard to tell apart, and those have short descriptors before they are brought to
unit length: the trunk says so itself. A mirror image therefore counts the less the longer the chip's own descriptor is,
and from some length on it is not looked at (docs/log.md, 'mirror images where they help'). It is also looked at where
gender or smile is undecided.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.boxes import Array
from model.runtime.engines.protocol import SECOND, Engine, Outputs
from model.warps import Image

MIRROR_LENGTHS = "mirror_lengths"
"""Key of two lengths in a checkpoint's configuration, which model.tools.measure_lengths finds: see mirror_weights()."""
UNDECIDED = (0.2, 0.25)
"""Distances from 0.5 of the chance of a gender or a smile up to which the mirror image's reading counts in full, and
from which it does not count: from there it could hardly turn the answer, having a fifth to a quarter of the weight."""
SHORTEST = 1e-12
"""Length below which a descriptor has no direction."""


class SecondPass:
    """The second pass by an engine. `mirror_lengths` are those of its checkpoint: see mirror_weights()."""

    def __init__(self, engine: Engine, mirror_lengths: Sequence[float] | None) -> None:
        self._engine = engine
        self._mirror_lengths = mirror_lengths

    def __call__(self, chips: Image) -> Outputs:
        """Return the outputs named in DESCRIBE, and CHIP_POSE where there is one, for chips uint8 [K, S, S, 3].

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
    """Return the lengths [K] of vectors [K, D]."""
    return np.asarray(np.linalg.norm(vectors, axis=1))


def unit(vectors: Array) -> Array:
    """Return vectors [K, D] brought to unit length; what has no length stays as it is."""
    return np.asarray(vectors / np.maximum(lengths(vectors), SHORTEST)[:, None], np.float32)
