"""Photos as bytes, and an API with small limits whose worker finds nothing."""

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import skimage.data

from service.config import Settings
from tests.service.serving import Served, answering, nothing_found, serve

SMALL = {"max_bytes": 100_000, "max_request_bytes": 200_000, "max_pixels": 10_000, "max_images": 3, "timeout": 5}


@pytest.fixture(scope="session")
def astronaut_png() -> bytes:
    """scikit-image's astronaut: one face, about x 174–279, y 70–178 of 512 × 512."""
    return bytes(cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1])


@pytest.fixture(scope="session")
def tiny_png() -> bytes:
    """A grey image of 8 × 6."""
    return bytes(cv2.imencode(".png", np.full((6, 8, 3), 128, np.uint8))[1])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The API with small limits; `seen` are the jobs its worker got."""
    with serve(Settings(**SMALL)) as served, answering(served.broker, nothing_found) as seen:
        served.seen = seen
        yield served
