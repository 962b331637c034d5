"""Photos as bytes."""

import cv2
import numpy as np
import pytest
import skimage.data


@pytest.fixture(scope="session")
def astronaut_png() -> bytes:
    """scikit-image's astronaut: one face, about x 174–279, y 70–178 of 512 × 512."""
    return bytes(cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1])


@pytest.fixture(scope="session")
def tiny_png() -> bytes:
    """A grey image of 8 × 6."""
    return bytes(cv2.imencode(".png", np.full((6, 8, 3), 128, np.uint8))[1])
