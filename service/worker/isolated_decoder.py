"""A child process that decodes suspicious photos and videos, one after the other, for service.worker.isolation.

standard input: length, Task (msgpack), length, file … standard output: status and two sizes, then
pixels (height, width), frames as msgpack (length, 0) or a problem (length, 0)
"""

from __future__ import annotations

import resource
import struct
import sys
from typing import BinaryIO

from msgspec import Struct, msgpack

from service import images, videos
from service.errors import ImageBroken, ServiceError
from service.wire import ImageHeader, VideoLimits

REPLY = struct.Struct(">BQQ")
DECODED = 0
PROBLEM = 1
FRAMES = 2
SPARE_BYTES = 1 << 30
"""Address space beside what a photo's decoding was announced to hold: the interpreter, its libraries and copies."""


class Task(Struct, frozen=True):
    """What to make of the file that follows: its pixels, or with `video` its frames."""

    header: ImageHeader
    video: VideoLimits | None = None


def main() -> None:
    """Decode until standard input ends, in so much address space as the first argument says."""
    limit = int(sys.argv[1]) + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    source = sys.stdin.buffer
    sink = sys.stdout.buffer
    while (head := _part(source)) is not None:
        file = _part(source) or b""
        try:
            size, payload = _run(file, msgpack.decode(head, type=Task))
        except (ServiceError, MemoryError) as error:
            problem = error if isinstance(error, ServiceError) else ImageBroken("it takes too much memory")
            text = f"{problem.code} {problem.detail}"
            sink.write(REPLY.pack(PROBLEM, len(text.encode()), 0) + text.encode())
        else:
            sink.write(REPLY.pack(*size))
            sink.write(payload)
        sink.flush()


def _run(file: bytes, task: Task) -> tuple[tuple[int, int, int], bytes | memoryview]:
    """Return status and sizes, and what follows them. Raises ServiceError, MemoryError."""
    if task.video is not None:
        frames = msgpack.encode(videos.sample_frames(file, task.header, task.video))
        return (FRAMES, len(frames), 0), frames
    pixels = images.decode(file, task.header)
    return (DECODED, *pixels.shape[:2]), pixels.data.cast("B")


def _part(source: BinaryIO) -> bytes | None:
    length = source.read(8)
    return source.read(int.from_bytes(length, "big")) if len(length) == 8 else None


if __name__ == "__main__":
    main()
