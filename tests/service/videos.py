"""Videos drawn for tests."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

CODECS = {"mp4": "libx264", "mov": "mpeg4", "webm": "libvpx"}


def encode(frames: Sequence[np.ndarray], kind: str = "mp4", rate: int = 10) -> bytes:
    """Return frames uint8 [H, W, 3], of even sizes, as a video of so many frames a second."""
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(CODECS[kind], rate=Fraction(rate))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        if kind == "mp4":
            stream.options = {"preset": "ultrafast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def encode_sound() -> bytes:
    """Return an mp4 of a second of silence."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


def turned(mp4: bytes) -> bytes:
    """Return an mp4 whose header says that it is to be shown turned clockwise by 90°, as phones write it."""
    at = mp4.index(b"tkhd") + 44
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    return mp4[:at] + b"".join(value.to_bytes(4, "big", signed=True) for value in matrix) + mp4[at + 36 :]


def ramp(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Return frames that grow brighter, from black to white."""
    return [np.full((height, width, 3), value, np.uint8) for value in np.linspace(0, 255, count).round()]
