"""Decode suspicious photos, and videos, in a child process that is killed at the deadline.

So no file holds the worker for longer than its caller waits. Suspicious are formats whose decoders are large or young
(AVIF, HEIC, JPEG XL, TIFF), and progressive JPEGs of many scans.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO, TypeVar, cast

import numpy as np
from msgspec import msgpack

from service import images
from service.errors import DeadlineExceeded, ImageBroken, NotReady, restored
from service.wire import ImageHeader, VideoFrame, VideoLimits
from service.worker.isolated_decoder import PROBLEM, REPLY, Task

ISOLATED = frozenset({"AVIF", "HEIF", "TIFF", "JXL"})
Answer = TypeVar("Answer")
MANY_SCANS = 20
"""Encoders write some ten scans."""


def is_suspicious(header: ImageHeader) -> bool:
    """Return whether a photo is decoded in a child process."""
    return header.format in ISOLATED or header.scans > MANY_SCANS


class _ChildDied(Exception):
    """The child process ended before it had answered."""


class IsolatedDecoder:
    """One child process, started when first needed and again after it was killed. Threads use it in turn."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._interrupted = False
        self._lock = threading.Lock()

    def decode(self, data: bytes, header: ImageHeader, deadline: float) -> images.Pixels:
        """Decode as images.decode() does, until `deadline` by time.monotonic().

        Raises NotAnImage, ImageBroken, DeadlineExceeded, NotReady after interrupt().
        """
        return self._run(data, Task(header), deadline, _read_pixels)

    def sample_frames(self, data: bytes, header: ImageHeader, limits: VideoLimits, deadline: float) -> list[VideoFrame]:
        """Sample a video as videos.sample_frames() does, until `deadline` by time.monotonic().

        Raises NotAnImage, ImageBroken, ImageTooLarge, VideoTooLong, VideoNeedsJob, DeadlineExceeded, NotReady after
        interrupt().
        """
        return self._run(data, Task(header, limits), deadline, _read_frames)

    def _run(self, data: bytes, task: Task, deadline: float, read: Callable[[BinaryIO, int, int], Answer]) -> Answer:
        """Have a child do a task, and blame the file for the death of a child that was started for it alone.

        A child that was there before may have died of something else: poll() says of a process that was killed, but
        whose threads have not all ended, that it runs, and it may even seem to take the file. Then a new one is tried.
        """
        with self._lock:
            if self._is_running():
                with suppress(_ChildDied):
                    return self._attempt(data, task, deadline, read)
            try:
                return self._attempt(data, task, deadline, read)
            except _ChildDied as error:
                raise ImageBroken(f"the decoder of {task.header.format} files failed on this file") from error

    def _attempt(
        self, data: bytes, task: Task, deadline: float, read: Callable[[BinaryIO, int, int], Answer]
    ) -> Answer:
        """Have the child, started if there is none, do a task. Raises _ChildDied when it dies before the deadline."""
        if self._interrupted:
            raise NotReady("the worker ends")
        child = self._running()
        if self._interrupted:  # while the child was being started, which interrupt() did not see
            self._end()
            raise NotReady("the worker ends")
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), child.kill)
        timer.start()
        try:
            return _exchange(child, data, task, read)
        except (OSError, EOFError) as error:
            self._end()
            if self._interrupted:
                raise NotReady("the worker ends") from error
            if time.monotonic() >= deadline:
                raise DeadlineExceeded("the photo could not be decoded in time") from error
            raise _ChildDied from error
        finally:
            timer.cancel()

    def interrupt(self) -> None:
        """Stop what is being decoded, from any thread; its caller, and everybody after it, gets NotReady."""
        self._interrupted = True
        child = self._child
        if child is not None:
            child.kill()

    def close(self) -> None:
        """End the child process, once what it decodes is done."""
        with self._lock:
            self._end()

    def _is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None or not self._is_running():
            self._end()
            command = [sys.executable, "-m", "service.worker.isolated_decoder", str(self._max_bytes)]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 - our own module
        return self._child

    def _end(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        for pipe in (self._child.stdin, self._child.stdout):
            with suppress(OSError):
                cast(BinaryIO, pipe).close()
        self._child.wait()
        self._child = None


def _exchange(
    child: subprocess.Popen[bytes], data: bytes, task: Task, read: Callable[[BinaryIO, int, int], Answer]
) -> Answer:
    """Send a task and read its answer. Raises EOFError or OSError when the child ends, and its ServiceError."""
    sink = cast(BinaryIO, child.stdin)
    source = cast(BinaryIO, child.stdout)
    head = msgpack.encode(task)
    sink.write(len(head).to_bytes(8, "big") + head + len(data).to_bytes(8, "big"))
    sink.write(data)
    sink.flush()
    status, first, second = REPLY.unpack(_exactly(source, REPLY.size))
    if status == PROBLEM:
        code, _, detail = _exactly(source, first).decode().partition(" ")
        raise restored(code, detail)
    return read(source, first, second)


def _read_frames(source: BinaryIO, size: int, _: int) -> list[VideoFrame]:
    return msgpack.decode(_exactly(source, size), type=list[VideoFrame])


def _read_pixels(source: BinaryIO, height: int, width: int) -> images.Pixels:
    pixels = np.empty((height, width, 3), np.uint8)
    view = memoryview(pixels.data).cast("B")
    at = 0
    while at < len(view):
        count = source.readinto(view[at:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        at += count
    return pixels


def _exactly(source: BinaryIO, count: int) -> bytes:
    data = source.read(count)
    if len(data) < count:
        raise EOFError
    return data
