"""The API of identities on a real port; the test is the worker and finds made-up people in photos that name them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageSequence

from model.identity.calibration import Calibration, calibrate
from model.landmarks import NAMES
from service.config import Settings
from service.errors import VideoNeedsJob
from service.wire import (
    Analysis,
    AnalysisFailure,
    AnalysisOutcome,
    AnalysisRequest,
    AnalysisResult,
    Box,
    FaceResult,
    Landmark,
    ModelCard,
    Pose,
    Quality,
    VideoFrame,
    WorkerInfo,
)
from tests.service.serving import Served, answering, serve

DIMENSION = 16
MODEL = "a" * 64
OTHER = "b" * 64


def photo(*people: int, take: int = 1, quality: float = 1.0) -> bytes:
    """Return a PNG that 'shows' people, 1–255, the largest first."""
    pixels = np.zeros((6, 8, 3), np.uint8)
    for column, person in enumerate(people):
        pixels[0, column] = person, take, round(255 * quality)
    return bytes(cv2.imencode(".png", pixels)[1])


def video(*frames: bytes) -> bytes:
    """Return an animated GIF of such photos."""
    pictures = [Image.open(io.BytesIO(frame)).convert("P", palette=Image.Palette.ADAPTIVE) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=500, disposal=2)
    return file.getvalue()


def frames_of(request: AnalysisRequest, model: str) -> AnalysisOutcome:
    """Return the frames of such a video without loss, as a worker answers; of a long one that it needs a job."""
    frames = []
    with Image.open(io.BytesIO(request.image)) as image:
        for number, picture in enumerate(ImageSequence.Iterator(image)):
            file = io.BytesIO()
            picture.convert("RGB").save(file, "PNG")
            frames.append(VideoFrame(0.5 * number, file.getvalue()))
    limits = request.options.video
    if limits is not None and limits.at_once is not None and frames[-1].time > limits.at_once:
        return AnalysisFailure(request.id, model, VideoNeedsJob.code)
    return AnalysisResult(request.id, model, Analysis(0, 0, []), frames=frames)


def vector(person: int, take: int, model: str = MODEL) -> np.ndarray:
    """Return what a model sees [D] in one photo of a person."""
    centre = np.random.default_rng((person, ord(model[0]))).normal(size=DIMENSION)
    return centre + 0.1 * np.random.default_rng((person, take)).normal(size=DIMENSION)


def landmarks(column: int) -> list[Landmark]:
    """Return the landmarks of the face in a column of such a photo: a different place for each."""
    return [Landmark(name, column + number / 21, number / 21, 1.0) for number, name in enumerate(NAMES)]


@cache
def calibration() -> Calibration:
    """Return the calibration of such people."""
    numbers = np.arange(1000, 1200).repeat(3)
    vectors = np.stack([vector(int(n), i % 3) for i, n in enumerate(numbers)])
    return calibrate(vectors, numbers, "cosine", resamples=5)


def card(model: str = MODEL, calibrated: bool = True) -> ModelCard:
    """Return the card of the model that the test pretends to be."""
    return ModelCard(model, "cosine", DIMENSION, calibration() if calibrated else None)


def info(model: str = MODEL) -> WorkerInfo:
    """Return the test as a worker."""
    return WorkerInfo("test", model, device="cpu", dtype="float32")


def people_in(request: AnalysisRequest, model: str = MODEL) -> AnalysisOutcome:
    """Return the people in a photo, as a worker answers."""
    options = request.options
    if options.video is not None:
        return frames_of(request, model)
    measured = options.quality or options.template
    pixels = cv2.imdecode(np.frombuffer(request.image, np.uint8), cv2.IMREAD_COLOR)
    faces = [
        FaceResult(
            box=Box(float(column), 0.0, 1.0, 1.0),
            score=0.9,
            pose=Pose(0.0, 0.0, 0.0),
            smile=0.5,
            gender="female",
            female=0.5,
            age=30.0,
            landmarks=landmarks(column) if options.landmarks else None,
            quality=Quality(quality / 255, 1.0, 1.0, 1.0, 1.0) if measured else None,
            vector=vector(person, take, model).astype("<f4").tobytes() if options.template else None,
        )
        for column, (person, take, quality) in enumerate(pixels[0].tolist())
        if person
    ]
    wanted = options.max_faces or len(faces)
    return AnalysisResult(request.id, model, Analysis(8, 6, faces[:wanted], len(faces) > wanted, len(faces)))


@contextmanager
def people_served(settings: Settings, model: str = MODEL, calibrated: bool = True) -> Iterator[Served]:
    """Serve the API with the test as its worker."""
    with serve(settings) as served, answering(served.broker, lambda request: people_in(request, model)):
        served.broker.announce(info(model), card(model, calibrated))
        yield served
