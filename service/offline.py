"""Photos in files to JSON lines and annotated copies, without a server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import cv2
import numpy as np
from tqdm import tqdm

from model.pipeline import Analyzer
from service import images
from service.analysis import limits, wire
from service.batching import batches
from service.config import Settings
from service.errors import ServiceError
from service.schemas import Options

GREEN, AMBER = (90, 220, 120), (255, 190, 60)
AXES = ((255, 90, 90), (90, 220, 120), (90, 150, 255))  # x to the image's right, y down, z out of the face


@dataclass(frozen=True)
class Photo:
    """A file, and its path below what the user named (where its annotated copy goes)."""

    path: Path
    relative: Path


@dataclass
class Decoded:
    """A photo with its pixels, or with what is wrong with it."""

    photo: Photo
    image: images.Pixels | None = None
    error: str = ""

    @property
    def pixels(self) -> int:
        """Width × height; 0 when it cannot be read."""
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


def expand(paths: Iterable[Path]) -> list[Photo]:
    """Files as they are, folders as the photos in them by suffix, at any depth, in order of name."""
    photos = []
    for path in paths:
        if path.is_dir():
            below = sorted(found for found in path.rglob("*") if found.suffix.lower() in images.SUFFIXES)
            photos += [Photo(found, found.relative_to(path)) for found in below if found.is_file()]
        else:
            photos.append(Photo(path, Path(path.name)))
    return photos


def analyze(
    photos: Sequence[Photo],
    analyzer: Analyzer,
    settings: Settings,
    options: Options,
    json_file: Path | None,
    draw_folder: Path | None,
    complain: Callable[[str], None],
) -> int:
    """Write one line for each photo that can be read; how many could not. Raises OSError for what cannot be written."""
    failures = 0
    with ExitStack() as opened:
        out: TextIO = opened.enter_context(json_file.open("w", encoding="utf-8")) if json_file else sys.stdout
        bar = opened.enter_context(tqdm(total=len(photos), unit="photo", disable=None, file=sys.stderr))
        for batch in batches(_decoded(photos, settings), settings.batch_images, settings.batch_pixels):
            good = [item for item in batch if item.image is not None]
            for item in batch:
                if item.image is None:
                    failures += 1
                    with tqdm.external_write_mode(file=sys.stderr):
                        complain(f"{item.photo.path}: {item.error}")
            found = analyzer.analyze([item.image for item in good if item.image is not None], limits(options))
            for item, faces in zip(good, found, strict=True):
                assert item.image is not None
                height, width = item.image.shape[:2]
                line = {"image": str(item.photo.path)} | wire(faces, width, height, options)
                out.write(json.dumps(line | {"model": analyzer.digest}) + "\n")
                if draw_folder:
                    _save(draw_folder / item.photo.relative, draw(item.image, line["faces"]))
            bar.update(len(batch))
    return failures


def _decoded(photos: Sequence[Photo], settings: Settings) -> Iterator[Decoded]:
    """The photos in order, a few of them decoded ahead in threads."""

    def read(photo: Photo) -> Decoded:
        try:
            data = photo.path.read_bytes()
            images.probe(data, sys.maxsize, settings.max_pixels)
            return Decoded(photo, images.decode(data))
        except (ServiceError, OSError) as error:
            return Decoded(photo, error=error.strerror or str(error) if isinstance(error, OSError) else error.detail)

    with ThreadPoolExecutor(settings.decode_threads) as pool:
        waiting = iter(photos)
        ahead: list[Future[Decoded]] = [pool.submit(read, p) for p in islice(waiting, 2 * settings.decode_threads)]
        while ahead:
            done = ahead.pop(0)
            ahead += [pool.submit(read, photo) for photo in islice(waiting, 1)]
            yield done.result()


def draw(image: images.Pixels, faces: Sequence[dict[str, Any]]) -> images.Pixels:
    """A copy with boxes, landmarks (hidden ones as rings), pose axes and attributes."""
    canvas = image.copy()
    for face in faces:
        box = face["box"]
        x, y, width, height = (round(box[name]) for name in ("x", "y", "width", "height"))
        thick = max(1, round(min(width, height) / 80))
        cv2.rectangle(canvas, (x, y), (x + width, y + height), GREEN, thick, cv2.LINE_AA)
        for mark in face.get("landmarks", ()):
            centre = (round(mark["x"]), round(mark["y"]))
            cv2.circle(canvas, centre, thick + 1, AMBER, -1 if mark["visibility"] >= 0.5 else 1, cv2.LINE_AA)
        _draw_axes(canvas, face["pose"], (x + width // 2, y + height // 2), min(width, height) / 2, thick)
        text = f"{face['gender']} {face['age']:.0f}, smile {face['smile']:.2f}"
        scale = max(0.35, min(width, height) / 260)
        cv2.putText(canvas, text, (x, max(12, y - 4)), cv2.FONT_HERSHEY_SIMPLEX, scale, GREEN, thick, cv2.LINE_AA)
    return canvas


def _draw_axes(canvas: images.Pixels, pose: dict[str, float], at: tuple[int, int], size: float, thick: int) -> None:
    roll, pitch, yaw = (np.radians(pose[name]) for name in ("roll", "pitch", "yaw"))
    about_z = np.array([[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    for axis, colour in zip((about_z @ about_y @ about_x).T, AXES, strict=True):
        tip = (round(at[0] + size * axis[0]), round(at[1] + size * axis[1]))
        cv2.arrowedLine(canvas, at, tip, colour, thick, cv2.LINE_AA, tipLength=0.15)


def _save(path: Path, image: images.Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    target, number = path.with_suffix(".jpg"), 2
    while target.exists():
        target, number = path.with_name(f"{path.stem}-{number}.jpg"), number + 1
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise OSError(f"{target.name} cannot be encoded")
    target.write_bytes(data.tobytes())
