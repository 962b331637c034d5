"""Similarities on the scales of other products: the threshold that we apply lies where they recommend theirs.

Theirs are logistic curves too: the odds that two faces are one person, as our calibration measured how they grow with
the similarity, moved so that our threshold comes to the recommended value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.identity.calibration import Calibration

DIGITS = 5
"""Digits after the point, of a share."""
STEP = 10.0**-DIGITS
LONGEST_EXPONENT = 700.0
COARSE = 2
"""Digits after the point of the similarity that a key learns which may only compare and search."""


@dataclass(frozen=True)
class Scale:
    """A scale on which `recommended`, between 0 and 1, is the value from which two faces are one person."""

    recommended: float

    def place(self, similarity: float, threshold: float, calibration: Calibration, coarse: bool = False) -> float:
        """Return a similarity as a share, 0–1: at least `recommended` exactly when it reaches the threshold.

        It grows with the similarity. With `coarse` the similarity is rounded to 0.01 before, so that the result tells
        no more than our own API does.
        """
        is_match = similarity >= threshold
        if coarse:
            rounded = round(similarity, COARSE)
            similarity = max(rounded, threshold) if is_match else min(rounded, threshold)
        odds = calibration.slope * (similarity - threshold) + math.log(self.recommended / (1 - self.recommended))
        share = 1 / (1 + math.exp(-max(-LONGEST_EXPONENT, min(LONGEST_EXPONENT, odds))))
        share = math.floor(share / STEP) * STEP
        share = max(share, self.recommended) if is_match else min(share, self.recommended - STEP)
        return round(share, DIGITS)


COMPREFACE_SCALE = Scale(0.5)
"""CompreFace's documents recommend 0.5."""
REKOGNITION_SCALE = Scale(0.8)
"""Rekognition's default thresholds are 80 %."""
