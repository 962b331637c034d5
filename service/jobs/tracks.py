"""Faces followed through a video: the analyses of its frames → tracks. What a finished job keeps of a video."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import field
from msgspec.structs import replace

from model.identity.tracks import Track, follow_faces
from service.config import Settings
from service.errors import NotAnImage
from service.formats import sniff, sniff_video
from service.headers import read_header, read_video_header
from service.wire import Analysis, FaceResult, ImageHeader, ModelCard, Options, Private, VideoLimits

MOST_FACES = 20
"""Faces of a frame that are followed, the largest ones."""
FRAME_OPTIONS = Options(max_faces=MOST_FACES, landmarks=False, template=True)
"""What the frames of a video are analyzed for."""
FOLLOWING_FAR = 1e-3
"""False accept rate from whose threshold two faces are followed as one."""
UNCALIBRATED = 0.5
"""The similarity from which they are where the model has no calibration: one that hardly errs."""


class TrackedFace(Private, frozen=True):
    """A face in one frame, at a time in seconds."""

    time: float
    face: FaceResult


class FaceTrack(Private, frozen=True):
    """One face through a video, in the order of time."""

    faces: list[TrackedFace]

    @property
    def best(self) -> TrackedFace:
        """Return the face of the highest quality, the larger of equal ones."""
        return self.ranked()[0]

    def ranked(self) -> list[TrackedFace]:
        """Return the faces by quality, then by size, the best first."""
        return sorted(self.faces, key=lambda each: (-_quality(each.face), -_area(each.face)))


class TrackedVideo(Private, frozen=True):
    """The tracks of a video, that of the largest best face first, and how it was sampled.

    Width and height are those of its frames as they were analyzed, `times` are theirs in seconds from the start.
    """

    model: str
    tracks: list[FaceTrack]
    width: int = 0
    height: int = 0
    times: list[float] = field(default_factory=list)

    def without_vectors(self) -> TrackedVideo:
        """Return the video without the vectors, which identify people."""
        tracks = [
            FaceTrack([TrackedFace(each.time, replace(each.face, vector=None)) for each in track.faces])
            for track in self.tracks
        ]
        return replace(self, tracks=tracks)


ANIMATED = ("GIF", "WEBP")
"""Formats of pictures that may move."""
A_PHOTO = ", but a photo: POST /v1/faces finds the faces in it"


def video_header(video: bytes, settings: Settings) -> ImageHeader:
    """Return the header of a video or animated picture. Raises NotAnImage, ImageBroken, ImageTooLarge, BodyTooLarge."""
    if sniff_video(video) is not None:
        return read_video_header(video, int(settings.max_request_bytes))
    name = sniff(video)
    if video and name not in ANIMATED:
        raise NotAnImage(f"the file is none of MP4, MOV, WEBM, {', '.join(ANIMATED)}{A_PHOTO if name else ''}")
    return read_header(video, int(settings.max_request_bytes), settings.video_pixels, int(settings.max_decoded))


def video_limits(settings: Settings, work_seconds: float, at_once: float | None = None) -> VideoLimits:
    """Return what may be done with a video, whose frames are to be there after so many seconds.

    One that plays for longer than `at_once` seconds raises VideoNeedsJob.
    """
    return VideoLimits(
        frames=settings.video_frames,
        seconds=settings.video_seconds,
        decoded=settings.video_decoded,
        pixels=settings.video_pixels,
        work_seconds=work_seconds,
        at_once=at_once,
    )


def following_threshold(card: ModelCard) -> float:
    """Return the similarity from which two faces are followed as one."""
    return UNCALIBRATED if card.calibration is None else card.calibration.threshold(FOLLOWING_FAR)


def follow(model: str, frames: Sequence[tuple[float, Analysis]], threshold: float) -> TrackedVideo:
    """Return the tracks of the faces in frames, given with their times in seconds, that one model analyzed."""
    boxes = [np.array([_corners(face) for face in analysis.faces]).reshape(-1, 4) for _, analysis in frames]
    vectors = [
        np.array([np.frombuffer(face.vector or b"", "<f4") for face in analysis.faces]) for _, analysis in frames
    ]
    tracks = [_faces_of(track, frames) for track in follow_faces(boxes, vectors, threshold)]
    tracks.sort(key=lambda track: -_area(track.best.face))
    first = frames[0][1] if frames else None
    return TrackedVideo(
        model=model,
        tracks=tracks,
        width=first.width if first else 0,
        height=first.height if first else 0,
        times=[seconds for seconds, _ in frames],
    )


def _faces_of(track: Track, frames: Sequence[tuple[float, Analysis]]) -> FaceTrack:
    places = zip(track.frames, track.faces, strict=True)
    return FaceTrack([TrackedFace(frames[frame][0], frames[frame][1].faces[face]) for frame, face in places])


def _corners(face: FaceResult) -> tuple[float, float, float, float]:
    box = face.box
    return box.x, box.y, box.x + box.width, box.y + box.height


def _area(face: FaceResult) -> float:
    return face.box.width * face.box.height


def _quality(face: FaceResult) -> float:
    return 0.0 if face.quality is None else face.quality.overall
