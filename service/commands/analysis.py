"""Analyze photos in files, without a server: JSON lines, and annotated copies.

read and decode ahead, in threads → batches → the model → a line and a copy for each photo
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from msgspec import to_builtins
from tqdm import tqdm

from model.runtime.pipeline import Analyzer
from service import images
from service.commands import complain
from service.commands.drawing import draw_faces, save_copy
from service.commands.photos import PhotoArgument
from service.config import Settings
from service.errors import ServiceError
from service.wire import Options
from service.worker.batching import batches
from service.worker.results import analysis_of, limits


@dataclass
class Decoded:
    """A photo with its decoded pixels, or with the reason why it cannot be decoded."""

    photo: PhotoArgument
    image: images.Pixels | None = None
    error: str = ""

    @property
    def pixels(self) -> int:
        """Return width × height; 0 when the photo cannot be decoded."""
        return 0 if self.image is None else self.image.shape[0] * self.image.shape[1]


@dataclass(frozen=True)
class Output:
    """The file for the lines (None: standard output), and the folder for annotated copies (None: no copies)."""

    lines: Path | None = None
    copies: Path | None = None


def analyze_files(
    photos: Sequence[PhotoArgument], analyzer: Analyzer, settings: Settings, options: Options, output: Output
) -> int:
    """Write a JSON line for each photo that can be analyzed; report the others on standard error and count them.

    Raises OSError for what cannot be written.
    """
    failures = 0
    with ExitStack() as opened:
        file: TextIO = opened.enter_context(output.lines.open("w", encoding="utf-8")) if output.lines else sys.stdout
        bar = opened.enter_context(tqdm(total=len(photos), unit="photo", disable=None, file=sys.stderr))
        for batch in batches(decode_ahead(photos, settings), settings.batch_images, settings.batch_pixels):
            for item in batch:
                if item.image is None:
                    failures += 1
                    with tqdm.external_write_mode(file=sys.stderr):
                        complain(f"{item.photo.name}: {item.error}")
            _analyze_batch([item for item in batch if item.image is not None], analyzer, options, file, output.copies)
            bar.update(len(batch))
    return failures


def _analyze_batch(
    batch: Sequence[Decoded], analyzer: Analyzer, options: Options, file: TextIO, copies: Path | None
) -> None:
    """Run decoded photos through the model in one call and write what it finds."""
    pixels = [item.image for item in batch if item.image is not None]
    results = analyzer.analyze(pixels, limits(options))
    for item, image, faces in zip(batch, pixels, results, strict=True):
        height, width = image.shape[:2]
        analysis = analysis_of(faces, width, height, options, analyzer.age_ranges)
        line = {"image": item.photo.name, **to_builtins(analysis), "model": analyzer.digest}
        file.write(json.dumps(line) + "\n")
        if copies:
            save_copy(copies / item.photo.relative, draw_faces(image, analysis.faces))


def decode_ahead(photos: Sequence[PhotoArgument], settings: Settings) -> Iterator[Decoded]:
    """Yield the photos in order, a few of them decoded ahead in threads."""
    with ThreadPoolExecutor(settings.decode_threads) as pool:
        remaining = iter(photos)
        decoding: list[Future[Decoded]] = [
            pool.submit(_decode, photo, settings) for photo in islice(remaining, 2 * settings.decode_threads)
        ]
        while decoding:
            oldest = decoding.pop(0)
            decoding += [pool.submit(_decode, photo, settings) for photo in islice(remaining, 1)]
            yield oldest.result()


def _decode(photo: PhotoArgument, settings: Settings) -> Decoded:
    try:
        data = photo.read()
        header = images.read_header(data, sys.maxsize, settings.max_pixels)
        return Decoded(photo, images.decode(data, header))
    except OSError as error:
        return Decoded(photo, error=error.strerror or str(error))
    except ServiceError as error:
        return Decoded(photo, error=error.detail)
