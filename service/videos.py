"""Frames of a video as JPEG, evenly spread over its time: mp4, mov and webm by PyAV, animated GIF and WebP by Pillow.

Runs in the worker's child process only (service.worker.isolation). The frames are decoded one after the other, and
never more than a few times as many as are wanted are held: how long a video is makes no difference to memory.
"""

from __future__ import annotations

import importlib
import io
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from service.errors import ImageBroken, ImageTooLarge, NotAnImage, VideoNeedsJob, VideoTooLong
from service.images import BROKEN, Pixels, pillow_to_rgb
from service.wire import ImageHeader, VideoFrame, VideoLimits

LONGEST_SIDE = 1920
"""Pixels to which the longer side of a frame is shrunk: as large as faces need, whatever the video."""
QUALITY = 95
HELD = 4
"""How many times `limits.frames` frames are held at most; beyond, every second one is dropped."""
FIRST_STEP = 0.04
"""Seconds between two frames that are held at first; doubled whenever too many are held."""
CONTAINERS = {"MP4": "mov", "WEBM": "matroska"}
"""FFmpeg's name of a format. FFmpeg may not guess the format: some formats read further files."""
PICTURES = ("GIF", "WEBP")


@dataclass(frozen=True, eq=False)
class _Frame:
    """A decoded frame at a time in seconds; `pixels` makes RGB of it, upright, which takes as long as decoding does."""

    seconds: float
    width: int
    height: int
    pixels: Callable[[], Pixels]


def sample_frames(data: bytes, header: ImageHeader, limits: VideoLimits) -> list[VideoFrame]:
    """Return at most `limits.frames` frames, evenly spread over the video, upright, in the order of their time.

    Raises NotAnImage for a file without a picture, ImageBroken, ImageTooLarge, VideoTooLong, VideoNeedsJob.
    """
    frames = _pictures(data, header, limits) if header.format in PICTURES else _movie(data, header, limits)
    sampled: list[VideoFrame] = []
    step = FIRST_STEP
    end = time.monotonic() + limits.work_seconds
    for count, frame in enumerate(frames, start=1):
        _check(count, frame, limits, end)
        if sampled and frame.seconds < sampled[-1].time + step:
            continue
        sampled.append(VideoFrame(round(frame.seconds, 3), _jpeg(frame.pixels())))
        if len(sampled) >= HELD * limits.frames:
            sampled = sampled[::2]
            step = max(2 * step, sampled[1].time - sampled[0].time - FIRST_STEP / 2)
    if not sampled:
        raise ImageBroken("no frame of the video can be decoded")
    times = np.array([frame.time for frame in sampled])
    targets = np.linspace(0, times[-1], min(limits.frames, len(sampled)))
    return [sampled[index] for index in np.unique(np.abs(targets[:, None] - times).argmin(axis=1))]


def _check(count: int, frame: _Frame, limits: VideoLimits, end: float) -> None:
    _check_size(frame.width, frame.height, limits)
    _check_seconds(frame.seconds, limits)
    if count > limits.decoded:
        raise VideoTooLong(f"a video may have {limits.decoded:,} frames")
    if time.monotonic() > end:
        if limits.at_once is not None:
            raise VideoNeedsJob(f"decoding the video takes longer than {limits.work_seconds:g} seconds")
        raise VideoTooLong(f"decoding the video takes longer than {limits.work_seconds:g} seconds")


def _check_size(width: int, height: int, limits: VideoLimits) -> None:
    if height * width > limits.pixels:
        raise ImageTooLarge(f"a frame of a video may have {limits.pixels:,} pixels, this one has {width} × {height}")


def _check_seconds(seconds: float, limits: VideoLimits) -> None:
    if seconds > limits.seconds:
        raise VideoTooLong(f"a video may play for {limits.seconds:g} seconds")
    if limits.at_once is not None and seconds > limits.at_once:
        raise VideoNeedsJob(f"the video plays for more than {limits.at_once:g} seconds")


def _jpeg(pixels: Pixels) -> bytes:
    height, width = pixels.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), QUALITY, colorsubsampling="444"))


# -- mp4, mov, webm ---------------------------------------------------------------------------------------------------


def _movie(data: bytes, header: ImageHeader, limits: VideoLimits) -> Iterator[_Frame]:
    """Yield each frame of a video. Raises NotAnImage, ImageBroken, ImageTooLarge, VideoTooLong, VideoNeedsJob."""
    try:
        av = importlib.import_module("av")
    except ImportError as error:
        raise NotAnImage("videos need the optional package av: pip install 'allinone-face[video]'") from error
    try:
        with av.open(io.BytesIO(data), format=CONTAINERS[header.format], metadata_errors="ignore") as container:
            if not container.streams.video:
                raise NotAnImage("the file holds sound and no picture")
            stream = container.streams.video[0]
            _check_announced(stream, container, av.time_base, limits)
            yield from _decoded(container, stream)
    except (av.FFmpegError, *BROKEN) as error:
        raise ImageBroken(f"the {header.format} file is damaged or cut short") from error


def _check_announced(stream: Any, container: Any, time_base: int, limits: VideoLimits) -> None:
    """Refuse by what the header says, before any frame is decoded.

    Raises ImageTooLarge, VideoTooLong, VideoNeedsJob.
    """
    _check_size(stream.codec_context.width, stream.codec_context.height, limits)
    if stream.frames > limits.decoded:
        raise VideoTooLong(f"a video may have {limits.decoded:,} frames, this one has {stream.frames:,}")
    _check_seconds((container.duration or 0) / time_base, limits)


def _decoded(container: Any, stream: Any) -> Iterator[_Frame]:
    stream.codec_context.thread_count = 1
    start: float | None = None
    for number, frame in enumerate(container.decode(stream)):
        seconds = number / 25 if frame.time is None else float(frame.time)
        start = seconds if start is None else start
        yield _Frame(max(0.0, seconds - start), frame.width, frame.height, partial(_upright, frame))


def _upright(frame: Any) -> Pixels:
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


# -- animated GIF and WebP --------------------------------------------------------------------------------------------


def _pictures(data: bytes, header: ImageHeader, limits: VideoLimits) -> Iterator[_Frame]:
    """Yield each frame of an animated picture. Raises ImageBroken, VideoTooLong."""
    seconds = 0.0
    try:
        with Image.open(io.BytesIO(data), formats=[header.format]) as image:
            count = getattr(image, "n_frames", 1) if header.format == "WEBP" else 0  # a GIF would be read for it
            if count > limits.decoded:
                raise VideoTooLong(f"a video may have {limits.decoded:,} frames, this one has {count:,}")
            for number in itertools.count():
                try:
                    image.seek(number)
                except EOFError:
                    return
                image.load()
                yield _Frame(seconds, *image.size, partial(pillow_to_rgb, image))
                seconds += max(float(image.info.get("duration", 0)), 10.0) / 1000
    except BROKEN as error:
        raise ImageBroken(f"the {header.format} file is damaged or cut short") from error
