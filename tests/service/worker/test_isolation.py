"""Suspicious photos in a child process: the same pixels, and a deadline that holds."""

import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from PIL import Image

from service import images
from service.errors import DeadlineExceeded, ImageBroken, NotReady, ServiceError
from service.headers import read_header, read_video_header
from service.wire import VideoLimits
from service.worker import isolation
from service.worker.isolation import MANY_SCANS, IsolatedDecoder, is_suspicious
from tests.service.serving import until
from tests.service.videos import encode, ramp

PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    made = IsolatedDecoder(512 << 20)
    yield made
    made.close()


def avif() -> bytes:
    out = io.BytesIO()
    Image.fromarray(PICTURE).save(out, "AVIF")
    return out.getvalue()


def scans(side: int, count: int) -> bytes:
    data = bytes(cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1])
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * count + data[-2:]


def children() -> set[int]:
    """Return the processes that this thread started."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


def has_ended(pid: int) -> bool:
    """Return whether a process is gone, or waits for its parent to hear of its end."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(") ")[2].startswith("Z")


def test_it_decodes_as_this_process_does_and_says_what_is_broken(decoder: IsolatedDecoder) -> None:
    data = avif()
    header = read_header(data, len(data), 1 << 20)
    assert is_suspicious(header)
    for _ in range(2):
        assert (decoder.decode(data, header, time.monotonic() + 60) == images.decode(data, header)).all()
        with pytest.raises(ImageBroken):
            decoder.decode(data[: len(data) // 2], header, time.monotonic() + 60)


def test_a_photo_that_takes_too_long_is_given_up_at_its_deadline(decoder: IsolatedDecoder) -> None:
    data = avif()
    header = read_header(data, len(data), 1 << 20)
    decoder.decode(data, header, time.monotonic() + 60)
    slow = scans(4000, 240)
    slow_header = read_header(slow, len(slow), 1 << 26)
    assert slow_header.scans > MANY_SCANS
    assert is_suspicious(slow_header)
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        decoder.decode(slow, slow_header, started + 0.1)
    assert time.monotonic() - started < 3
    assert decoder.decode(data, header, time.monotonic() + 60).shape == (48, 64, 3), "another child goes on"


def test_a_decoder_that_dies_breaks_the_photo_and_nothing_else() -> None:
    data = avif()
    header = read_header(data, len(data), 1 << 20)
    of_others = children()  # a Redis of other tests' among them
    decoder = IsolatedDecoder(512 << 20)
    try:
        decoder.decode(data, header, time.monotonic() + 60)
        own = children() - of_others
        assert own
        for child in own:
            os.kill(child, signal.SIGKILL)
        until(lambda: all(has_ended(child) for child in own))
        picture = decoder.decode(data, header, time.monotonic() + 60)
        assert picture.shape == (48, 64, 3)
    finally:
        decoder.close()


def test_a_child_that_died_unnoticed_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    data = avif()
    header = read_header(data, len(data), 1 << 20)
    of_others = children()
    decoder = IsolatedDecoder(512 << 20)
    try:
        decoder.decode(data, header, time.monotonic() + 60)
        own = children() - of_others
        for child in own:
            os.kill(child, signal.SIGKILL)
        until(lambda: all(has_ended(child) for child in own))
        monkeypatch.setattr(subprocess.Popen, "poll", lambda _: None)  # as while a killed process' threads end
        assert decoder.decode(data, header, time.monotonic() + 60).shape == (48, 64, 3)
    finally:
        decoder.close()


@pytest.mark.parametrize("death", [BrokenPipeError, EOFError])
def test_a_photo_is_broken_where_the_child_started_for_it_dies(
    monkeypatch: pytest.MonkeyPatch, death: type[Exception]
) -> None:
    """A child that was there before may have died of something else, before it read the photo or after."""
    data = avif()
    header = read_header(data, len(data), 1 << 20)
    children_used = []

    def die(child: object, *_: object) -> NoReturn:
        children_used.append(child)
        raise death

    decoder = IsolatedDecoder(512 << 20)
    try:
        decoder.decode(data, header, time.monotonic() + 60)
        monkeypatch.setattr(isolation, "_exchange", die)
        for expected in (2, 1):  # the one that was there and a new one; only a new one
            children_used.clear()
            with pytest.raises(ImageBroken):
                decoder.decode(data, header, time.monotonic() + 60)
            assert len(set(map(id, children_used))) == len(children_used) == expected
    finally:
        decoder.close()


def test_a_baseline_photo_is_not_suspicious() -> None:
    data = bytes(cv2.imencode(".jpg", PICTURE)[1])
    header = read_header(data, len(data), 1 << 20)
    assert not is_suspicious(header)
    assert is_suspicious(replace(header, scans=MANY_SCANS + 1))


def test_a_video_is_sampled_in_the_child(decoder: IsolatedDecoder) -> None:
    limits = VideoLimits(frames=4, seconds=60, decoded=500, pixels=100_000, work_seconds=30)
    whole = encode(ramp(20))
    header = read_video_header(whole, 1 << 30)
    deadline = time.monotonic() + 60
    frames = decoder.sample_frames(whole, header, limits, deadline)
    assert len(frames) == 4
    with pytest.raises(ServiceError) as refusal:
        decoder.sample_frames(whole[:300], header, limits, deadline)
    assert refusal.value.code == "image_broken"
    assert decoder.sample_frames(whole, header, limits, deadline) == frames
    with pytest.raises(DeadlineExceeded):
        decoder.sample_frames(encode(ramp(400)), header, limits, time.monotonic())


@pytest.mark.slow
def test_a_long_video_is_interrupted_when_the_worker_ends() -> None:
    """Its caller hears what makes a job try again elsewhere, and nothing of it is decoded here any more."""
    made = IsolatedDecoder(512 << 20)
    limits = VideoLimits(frames=32, seconds=600, decoded=20_000, pixels=1_000_000, work_seconds=60)
    video = encode(ramp(10, 480, 960) * 200, rate=25)
    header = read_video_header(video, 1 << 30)
    timer = threading.Timer(0.7, made.interrupt)  # the whole takes two seconds on an idle core
    timer.start()
    started = time.monotonic()
    for _ in range(2):
        with pytest.raises(NotReady):
            made.sample_frames(video, header, limits, time.monotonic() + 60)
    assert 0.5 < time.monotonic() - started < 5
    made.close()
