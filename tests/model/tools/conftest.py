"""Photos that the tools' tests read."""

import cv2
import pytest
import skimage.data


@pytest.fixture(scope="session")
def astronaut_png() -> bytes:
    """scikit-image's astronaut: one face, about x 174–279, y 70–178 of 512 × 512."""
    return bytes(cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1])
