"""The API of identities on a real port; the test is the worker and finds made-up people in photos that name them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import cv2
import numpy as np

from model.calibration import Calibration, calibrate
from service.broker import Job, Result, WorkerInfo
from service.config import Settings
from tests.service.serving import Served, answering, serve

DIMENSION = 16
MODEL = "a" * 64
OTHER = "b" * 64


def photo(*people: int, take: int = 1, quality: float = 1.0) -> bytes:
    """A PNG that 'shows' people, 1–255, the largest first."""
    pixels = np.zeros((6, 8, 3), np.uint8)
    for column, person in enumerate(people):
        pixels[0, column] = person, take, round(255 * quality)
    return bytes(cv2.imencode(".png", pixels)[1])


def vector(person: int, take: int, model: str = MODEL) -> np.ndarray:
    """What a model sees [D] in one photo of a person."""
    centre = np.random.default_rng((person, ord(model[0]))).normal(size=DIMENSION)
    return centre + 0.1 * np.random.default_rng((person, take)).normal(size=DIMENSION)


@cache
def calibration() -> Calibration:
    """Of such people."""
    numbers = np.arange(1000, 1200).repeat(3)
    vectors = np.stack([vector(int(n), i % 3) for i, n in enumerate(numbers)])
    return calibrate(vectors, numbers, "cosine", resamples=5)


def info(model: str = MODEL, calibrated: bool = True) -> WorkerInfo:
    """The test as a worker."""
    told = calibration().as_dict() if calibrated else None
    identity = {"score": "cosine", "dimension": DIMENSION, "calibration": told}
    return WorkerInfo("test", model, {"preset": "none", "device": "cpu", "dtype": "float32", "identity": identity})


def found(job: Job, model: str = MODEL) -> Result:
    """The people in a photo, as a worker answers."""
    pixels = cv2.imdecode(np.frombuffer(job.image, np.uint8), cv2.IMREAD_COLOR)
    faces: list[dict[str, Any]] = []
    for column, (person, take, quality) in enumerate(pixels[0].tolist()):
        if person:
            factors = dict.fromkeys(("sharpness", "size", "pose", "exposure", "visibility"), 1.0)
            factors["sharpness"] = quality / 255
            told = {"overall": quality / 255, "reasons": ["sharpness: too blurred"] if quality < 255 else []}
            box = {"x": float(column), "y": 0.0, "width": 1.0, "height": 1.0}
            faces.append({"box": box, "quality": told | factors, "vector": vector(person, take, model).tolist()})
    assert job.options.template
    analysis = {"width": 8, "height": 6, "faces": faces[: job.options.max_faces]}
    return Result(job.id, model, analysis)


@contextmanager
def people_served(settings: Settings, model: str = MODEL, calibrated: bool = True) -> Iterator[Served]:
    """The API with the test as its worker."""
    with serve(settings) as served, answering(served.broker, lambda job: found(job, model)):
        served.broker.announce(info(model, calibrated))
        yield served
