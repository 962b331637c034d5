"""Frames of real videos: evenly spread, upright, within limits; what is broken or too large is refused."""

import io

import cv2
import msgspec
import numpy as np
import pytest
from PIL import Image

from service.errors import ImageBroken, ImageTooLarge, NotAnImage, ServiceError, VideoNeedsJob, VideoTooLong
from service.formats import sniff_video
from service.headers import read_header, read_video_header
from service.videos import sample_frames
from service.wire import ImageHeader, VideoFrame, VideoLimits
from tests.service.videos import encode, encode_sound, ramp, turned

LIMITS = VideoLimits(frames=5, seconds=60, decoded=500, pixels=100_000, work_seconds=30)


def header(data: bytes) -> ImageHeader:
    return read_video_header(data, 1 << 30) if sniff_video(data) else read_header(data, 1 << 30, 1 << 30)


def sample(data: bytes, **limits: float) -> list[VideoFrame]:
    return sample_frames(data, header(data), msgspec.structs.replace(LIMITS, **limits))


def pixels(frame: VideoFrame) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(frame.image, np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("kind", ["mp4", "mov", "webm"])
def test_frames_are_evenly_spread(kind: str) -> None:
    frames = sample(encode(ramp(30), kind))
    assert [frame.time for frame in frames] == pytest.approx([0, 0.7, 1.4, 2.2, 2.9], abs=0.25)
    brightness = [pixels(frame).mean() for frame in frames]
    assert brightness[0] < 20
    assert brightness[-1] > 235
    assert np.diff(brightness).min() > 20
    assert pixels(frames[0]).shape == (64, 96, 3)


def test_a_short_video_gives_all_its_frames() -> None:
    assert len(sample(encode(ramp(3)))) == 3
    assert len(sample(encode(ramp(1)))) == 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_animated_pictures(kind: str) -> None:
    pictures = [Image.fromarray(frame) for frame in ramp(12)]
    file = io.BytesIO()
    pictures[0].save(file, kind, save_all=True, append_images=pictures[1:], duration=200)
    frames = sample(file.getvalue())
    assert [frame.time for frame in frames] == pytest.approx([0, 0.6, 1.2, 1.6, 2.2], abs=0.21)
    assert pixels(frames[-1]).mean() > 235
    with pytest.raises(VideoTooLong):
        sample(file.getvalue(), decoded=8)
    with pytest.raises(ImageBroken):
        sample(file.getvalue()[:-150])


def test_a_video_that_lies_is_turned_upright() -> None:
    corner = np.zeros((64, 96, 3), np.uint8)
    corner[:32, :48] = 255  # top left, which is top right after a quarter turn clockwise
    (frame,) = sample(turned(encode([corner])))
    upright = pixels(frame)
    assert upright.shape == (96, 64, 3)
    assert upright[:40, 40:].mean() > 230
    assert upright[:40, :24].mean() < 25


def test_large_frames_are_shrunk() -> None:
    (frame,) = sample(encode([np.full((96, 2400, 3), 99, np.uint8)]), pixels=1_000_000)
    assert pixels(frame).shape == (77, 1920, 3)


@pytest.mark.parametrize(
    ("limits", "error"),
    [({"pixels": 6000}, ImageTooLarge), ({"seconds": 1}, VideoTooLong), ({"decoded": 20}, VideoTooLong)],
)
@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_limits(kind: str, limits: dict[str, float], error: type[ServiceError]) -> None:
    with pytest.raises(error):
        sample(encode(ramp(30), kind), **limits)


def test_work_that_takes_too_long() -> None:
    with pytest.raises(VideoTooLong, match="takes longer"):
        sample(encode(ramp(30)), work_seconds=0.0)
    with pytest.raises(VideoNeedsJob, match="takes longer"):
        sample(encode(ramp(30)), work_seconds=0.0, at_once=30)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_video_that_plays_too_long_for_one_request(kind: str) -> None:
    three_seconds = encode(ramp(30), kind)
    assert len(sample(three_seconds, at_once=3)) == LIMITS.frames
    with pytest.raises(VideoNeedsJob, match="2 seconds"):
        sample(three_seconds, at_once=2)
    with pytest.raises(VideoTooLong):
        sample(three_seconds, at_once=2, seconds=1)


def test_an_animated_picture_that_plays_too_long_for_one_request() -> None:
    pictures = [Image.fromarray(frame) for frame in ramp(12)]
    file = io.BytesIO()
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=200)
    with pytest.raises(VideoNeedsJob):
        sample(file.getvalue(), at_once=1)


def test_what_is_no_whole_video() -> None:
    whole = encode(ramp(30))
    with pytest.raises(NotAnImage, match="sound"):
        sample(encode_sound())
    for broken in (whole[:200], whole[:8] + bytes(500), b"\x1a\x45\xdf\xa3" + bytes(500), whole[:40] + b"\xff" * 900):
        with pytest.raises(ServiceError) as refusal:
            sample(broken)
        assert refusal.value.status == 422
    with pytest.raises(NotAnImage):
        read_video_header(b"text", 100)


def test_a_video_of_any_length_is_held_in_few_frames() -> None:
    """The frames are a generator's: a few times the wanted ones are held at most, whatever the video's length."""
    frames = sample(encode(ramp(400)), frames=4)
    assert len(frames) == 4
    assert [frame.time for frame in frames] == pytest.approx([0, 13, 26, 39], abs=2)
