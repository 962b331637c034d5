"""The tracks of a video as callers see them, in an answer of its own or in that of a job."""

from __future__ import annotations

import msgspec

from service.http.probes import probe_of_track
from service.jobs.tracks import FaceTrack, TrackedFace, TrackedVideo
from service.schemas.probes import Template
from service.schemas.videos import BestFace, VideoResponse, VideoTrack
from service.schemas.videos import TrackedFace as TrackedFaceResponse


def video_response(video: TrackedVideo, *, with_templates: bool) -> VideoResponse:
    """Return a video as callers see it, with a template of each track where they asked for it."""
    tracks = [_track(number, track, video.model, with_templates) for number, track in enumerate(video.tracks)]
    return VideoResponse(width=video.width, height=video.height, times=video.times, tracks=tracks, model=video.model)


def _track(number: int, track: FaceTrack, model: str, with_template: bool) -> VideoTrack:
    best = track.best
    return VideoTrack(
        id=number,
        first=track.faces[0].time,
        last=track.faces[-1].time,
        best=BestFace.model_validate(_face_fields(best) | {"quality": _quality(best)}),
        faces=[TrackedFaceResponse.model_validate(_face_fields(tracked)) for tracked in track.faces],
        template=Template.of(model, probe_of_track(track, model, 1).vector, 1) if with_template else None,
    )


def _face_fields(tracked: TrackedFace) -> dict[str, object]:
    return {
        "time": tracked.time,
        "box": msgspec.to_builtins(tracked.face.box),
        "score": tracked.face.score,
    }


def _quality(tracked: TrackedFace) -> dict[str, float]:
    quality = tracked.face.quality
    assert quality is not None
    return {"overall": quality.overall, **quality.factors()}
