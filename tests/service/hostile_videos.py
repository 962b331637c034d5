"""Videos that would take a decoder's memory or time: huge frames, a million frames, no end."""

import io
import struct
from fractions import Fraction

import av
import numpy as np

from tests.service.videos import CODECS


def huge_frame(width: int = 7680, height: int = 4320) -> bytes:
    """Return an mp4 of one grey frame of this size, of a few kilobytes."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([128]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def announced_as(mp4: bytes, width: int, height: int) -> bytes:
    """Return an mp4 whose description of the codec announces another size than its frames have."""
    at = mp4.index(b"avc1", mp4.index(b"stsd")) + 28  # after the format: 6 + 2 + 16 bytes, and the format's own 4
    return mp4[:at] + struct.pack(">HH", width, height) + mp4[at + 4 :]


def many_frames(count: int, kind: str = "mp4", rate: int = 1000, *, endless: bool = False) -> bytes:
    """Return a video of so many frames of 16 × 16 pixels, all of them copies of the first ones.

    An `endless` one is a webm as it is streamed, whose head announces no duration, and in which no time passes.
    """
    encoded = io.BytesIO()
    frames = [np.full((16, 16, 3), value, np.uint8) for value in (90, 90)]
    with av.open(encoded, "w", format=kind) as container:
        stream = container.add_stream(CODECS[kind], rate=Fraction(rate), options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file = io.BytesIO()
    encoded.seek(0)
    options = {"live": "1"} if endless else {}
    with av.open(encoded) as source, av.open(file, "w", format=kind, options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        first, again = [packet for packet in source.demux(source.streams.video[0]) if packet.size][:2]
        step = 0 if endless else max(1, round(1 / (rate * first.time_base)))
        for number in range(count):
            packet = av.Packet(bytes(first if number == 0 else again))
            packet.time_base = first.time_base
            packet.pts = packet.dts = number * step
            packet.duration = step
            packet.is_keyframe = number == 0
            packet.stream = stream
            target.mux(packet)
    return file.getvalue()


def many_pictures(count: int) -> bytes:
    """Return an animated GIF of so many pictures of one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"\x21\xf9\x04\x00\x01\x00\x00\x00" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    two = one.replace(b"\x44\x01", b"\x4c\x01")
    return head + (one + two) * (count // 2) + b"\x3b"
