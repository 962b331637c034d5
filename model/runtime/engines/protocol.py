"""What runs the networks: crops and pyramid levels in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from model.boxes import Array
from model.warps import Image

DETECT = ("detection", "landmarks", "visibility", "pose")
"""The outputs of the first pass, on a region."""
ATTRIBUTES = ("smile", "gender", "age")
"""What the second pass reads of an aligned chip alone."""
DESCRIBE = (*ATTRIBUTES, "descriptor")
"""The outputs of the second pass."""
CHIP_POSE = "chip_pose"
"""One more output of the second pass where the checkpoint has heads for it: the pose as the chip shows the face."""
CHIP_LANDMARKS = "chip_landmarks"
"""One more where it has heads for the chip's geometry: landmarks [K, 21, 2], in sides of the chip."""
CHIP_VISIBILITY = "chip_visibility"
"""The same heads' visibility of these landmarks, 0–1 [K, 21]."""
GEOMETRY = (CHIP_POSE, CHIP_LANDMARKS, CHIP_VISIBILITY)
"""All that the second pass says of where a face lies, where the checkpoint has heads for the chip's geometry."""
SECOND = {"gender": "second_gender", "smile": "second_smile"}
"""Task → one more output where the checkpoint has shared heads: the part of the answer that is their second reading.

These are the tasks whose second reading is also that of the mirror image: on validation chips the log-loss of gender
falls by 2 %; the age gets no better (docs/log.md, 'The mirror image, again')."""

Outputs = dict[str, Array]
EngineName = Literal["openvino", "torch"]


class Engine(Protocol):
    """The networks of one checkpoint on one device. Not thread-safe: one thread a device.

    Crops are uint8 [K, S, S, 3] RGB, K ≥ 1; outputs are float32 [K, …] as model.tasks reads them.
    """

    @property
    def name(self) -> EngineName:
        """Return which engine it is."""

    @property
    def precision(self) -> dict[str, str]:
        """Return the number formats of 'detection' (where faces lie) and 'identity' (whose they are)."""

    @property
    def screens(self) -> bool:
        """Whether the checkpoint brings a screening network."""

    def screen(self, crops: Image) -> tuple[Array, Array]:
        """Return scores [K] and placements [K, 4] of the screening network: see model.screening_network.

        Its crops have a size of their own, model.runtime.screening.SIZE.
        """

    @property
    def glances(self) -> bool:
        """Whether glance() takes less time than detect(), for many crops: its first call can take longer."""

    def glance(self, crops: Image) -> Array:
        """Return how likely each of crops uint8 [K, S, S, 3] shows a face, 0–1 [K], in a number format of fewer digits.

        It differs from what detect() says in the third digit, and is only good to tell what is plainly no face.
        """

    def detect(self, crops: Image) -> Outputs:
        """Return the outputs named in DETECT for crops uint8 [K, S, S, 3], one row a crop."""

    def describe(self, chips: Image) -> Outputs:
        """Return the outputs named in DESCRIBE for chips uint8 [K, S, S, 3], descriptors as long as they come.

        With shared heads there are also CHIP_POSE and the outputs that SECOND names, with heads for the chip's geometry
        those that GEOMETRY names.
        """

    def mirror(self, chips: Image) -> Outputs:
        """Return 'descriptor' and the outputs that SECOND names, where there are any, of the chips' mirror images."""

    def propose(self, batches: Sequence[Image]) -> list[Array]:
        """Return the proposer's maps [B, 4, H/8, W/8] for each batch uint8 [B, H, W, 3] of levels of one size."""

    def warm_up(self) -> None:
        """Run every size of batch that there is once."""

    def release_memory(self) -> None:
        """Give back memory that was needed for the last photos alone; the next photo can take a little longer."""
