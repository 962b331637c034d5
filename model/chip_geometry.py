"""Landmarks, their visibility and head pose of a chip, read from stages that learnt identity and stay as they are.

The first pass places the landmarks in a region of any size and turn. In its chip every face lies alike, so that these
heads have little left to tell and tell it more exactly (docs/log.md, 'Landmarks of the chip'). They read stage 3, whose
map is finer, and stage 5, which sees more of the face.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from model.landmarks import COUNT

PART = "chip_geometry"
"""The name of these weights in a checkpoint."""
POINT_UNIT = 0.05
"""Shift in sides of the chip for which an output of 1 of the landmarks' head stands."""
POSE_UNIT = 10.0
"""Degrees for which an output of 1 of the pose's head stands."""
GEOMETRY_SHARE = 0.6
"""Weight of this pose, 0–1, in the mean with the one that model.shared_heads reads of the chip: they err in different
places (docs/log.md, 'Landmarks of the chip')."""
CELLS = 7
"""Cells a side of the map that the heads read."""
HIDDEN = 256


class ChipGeometry(nn.Module):
    """Heads for landmarks, visibility and pose on the maps of stages 3 and 5.

    `channels` are those of the two maps, of which the first has twice as many cells a side; `width` is that of the
    convolutions that join them.
    """

    mean3: Tensor
    deviation3: Tensor
    mean5: Tensor
    deviation5: Tensor
    places: Tensor

    def __init__(self, channels: tuple[int, int], width: int = 96) -> None:
        super().__init__()
        for stage, count in zip((3, 5), channels, strict=True):
            self.register_buffer(f"mean{stage}", torch.zeros(count, 1, 1))
            self.register_buffer(f"deviation{stage}", torch.ones(count, 1, 1))
        self.register_buffer("places", torch.zeros(COUNT, 2))
        self.halve = nn.Sequential(nn.Conv2d(channels[0], width, 2, 2), nn.PReLU(width))
        self.fuse = nn.Sequential(nn.Conv2d(width + channels[1], width, 1), nn.PReLU(width))
        self.around = nn.Sequential(nn.Conv2d(width, width, 3, 2, 1), nn.PReLU(width), nn.Flatten(), nn.Dropout(0.2))
        outputs = {"landmarks": 2 * COUNT, "visibility": COUNT, "pose": 3}
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(width * CELLS**2, HIDDEN), nn.PReLU(), nn.Linear(HIDDEN, count))
                for name, count in outputs.items()
            }
        )

    @classmethod
    def of_weights(cls, weights: Mapping[str, Tensor]) -> ChipGeometry:
        """Build the heads that the weights belong to. Raises RuntimeError or KeyError where they do not fit."""
        width, channels = weights["halve.0.weight"].shape[:2]
        heads = cls((channels, len(weights["mean5"])), width)
        heads.load_state_dict(weights)
        return heads

    def standardise(self, stage3: Tensor, stage5: Tensor, landmarks: Tensor) -> None:
        """Learn mean and deviation of some chips' maps [K, C, H, W], and where their landmarks [K, 21, 2] lie."""
        for mean, deviation, maps in (
            (self.mean3, self.deviation3, stage3),
            (self.mean5, self.deviation5, stage5),
        ):
            mean.copy_(maps.mean(dim=(0, 2, 3))[:, None, None])
            deviation.copy_(maps.std(dim=(0, 2, 3))[:, None, None] + 0.05)
        self.places.copy_(landmarks.median(dim=0).values)

    def forward(self, stage3: Tensor, stage5: Tensor) -> dict[str, Tensor]:
        """Maps [K, C, H, W] of chips → 'landmarks' [K, 21, 2], 'visibility' [K, 21] and 'pose' [K, 3], float32.

        Landmarks are in sides of the chip from its upper left corner, as alignment leaves them. The visibility is the
        chance, 0–1, that the landmark can be seen in the photo. The pose is roll, pitch and yaw in degrees, the roll
        that of the face in its chip.
        """
        fine = (stage3 - self.mean3) / self.deviation3
        coarse = (stage5 - self.mean5) / self.deviation5
        fused = self.fuse(torch.cat([self.halve(fine), coarse], dim=1))
        features = self.around(fused)
        shifts = self.heads["landmarks"](features).float().unflatten(1, (COUNT, 2))
        return {
            "landmarks": self.places.float() + shifts * POINT_UNIT,
            "visibility": self.heads["visibility"](features).float().sigmoid(),
            "pose": self.heads["pose"](features).float() * POSE_UNIT,
        }
