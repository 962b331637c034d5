"""Probes, which are faces to compare: out of photos, videos and templates that callers send."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np
from fastapi import Request
from pydantic import ValidationError

from service.errors import InvalidRequest, NotReady, QueueFull, ServiceError
from service.gallery import Vector
from service.gallery.checks import unit_vector
from service.gallery.errors import LowQuality, ModelMismatch, NoFace, NoSuchFace, SeveralFaces
from service.gallery.scoring import Scoring, pool_vectors
from service.http.auth import require_role
from service.http.options import invalid_request
from service.http.submit import analyze_photos
from service.http.uploads import Upload
from service.http.videos import POOLED, is_video, track_video
from service.jobs.tracks import FaceTrack
from service.queue import Producer
from service.schemas.faces import Box
from service.schemas.probes import Choice, FaceUsed, Quality, Template
from service.wire import Analysis, AnalysisResult, FaceResult, Options
from service.wire import Quality as MeasuredQuality

MAX_FACES = 100
"""Faces of a photo that are looked at where all count, the largest ones."""


@dataclass(frozen=True, eq=False)
class Probe:
    """One face of a photo or video: its vector [D] as the worker projected it, its quality, and where it is.

    Of a video it is the best face of a track, its vector pooled over the best `frames` [F, D] of these qualities [F].
    """

    model: str
    vector: Vector = field(repr=False)
    quality: MeasuredQuality
    box: Box
    score: float
    faces_seen: int
    frames: Vector = field(repr=False)
    frame_quality: Vector = field(repr=False)

    def face_used(self, gate: float) -> FaceUsed:
        """Return the face as callers see it, with what keeps it below the quality `gate`."""
        factors = self.quality.factors()
        quality = Quality(overall=self.quality.overall, reasons=self.quality.reasons(gate), **factors)
        return FaceUsed(box=self.box, quality=quality, faces_seen=self.faces_seen)


async def model_scoring(request: Request, digest: str | None = None) -> Scoring:
    """Return the scoring of this model while a worker has it, else of the model that answers now. Raises NotReady."""
    producer: Producer = request.app.state.producer
    return Scoring.of(await producer.model_card(digest))


async def probe_photos(
    request: Request, photos: Sequence[bytes], choice: Choice, model: str
) -> list[Probe | ServiceError]:
    """Return the chosen face of each photo or video, or why there is none, by a model.

    Raises QueueFull, NotReady, and an error of the service itself when no photo had another outcome.
    """
    max_faces = {"largest": 1, "only": MAX_FACES}[choice] if isinstance(choice, str) else choice + 1
    options = Options(max_faces=max_faces, landmarks=False, template=True)
    images = [photo for photo in photos if not is_video(photo)]
    outcomes = iter(await analyze_photos(request, images, options, model))
    probes: list[Probe | ServiceError] = [
        await _probe_video(request, photo, choice, model) if is_video(photo) else _chosen_face(next(outcomes), choice)
        for photo in photos
    ]
    failures = [outcome for outcome in probes if isinstance(outcome, ServiceError) and outcome.status >= 500]
    if failures and len(failures) == len(probes):
        raise failures[0]
    return probes


async def probe_all_faces(request: Request, photo: bytes, max_faces: int, model: str) -> list[Probe]:
    """Return at most so many faces of a photo, or of a video's tracks, largest first. Raises NoFace."""
    if is_video(photo):
        tracks = (await track_video(request, photo, model)).tracks
        if not tracks:
            raise NoFace
        return [probe_of_track(track, model, len(tracks)) for track in tracks[:max_faces]]
    (outcome,) = await analyze_photos(
        request, [photo], Options(max_faces=max_faces, landmarks=False, template=True), model
    )
    if isinstance(outcome, ServiceError):
        raise outcome
    if not outcome.analysis.faces:
        raise NoFace
    return faces_of_photo(outcome.analysis, outcome.model)


def faces_of_photo(analysis: Analysis, model: str) -> list[Probe]:
    """Return all faces of a photo that was analyzed with Options.template, largest first."""
    return [_probe_of(face, model, _faces_seen(analysis)) for face in analysis.faces]


async def probe_every_photo(request: Request, photos: Sequence[bytes], choice: Choice, model: str) -> list[Probe]:
    """Return the faces of photos that must all show one. Raises the first one's error otherwise."""
    probes = []
    for number, outcome in enumerate(await probe_photos(request, photos, choice, model), start=1):
        if isinstance(outcome, ServiceError):
            if len(photos) > 1:
                outcome.detail = f"photo {number} of {len(photos)}: {outcome.detail}"
            raise outcome
        probes.append(outcome)
    return probes


def low_quality(probe: Probe, gate: float) -> LowQuality | None:
    """Return what is wrong with a face that is to be enrolled, None if it is good enough."""
    overall = probe.quality.overall
    if overall >= gate:
        return None
    reasons = "; ".join(probe.quality.reasons(gate))
    return LowQuality(f"quality {overall:.2f}, at least {gate:.2f} is needed: {reasons}")


def probe_vector(probes: Sequence[Probe]) -> Vector:
    """Return one vector [D] of unit length of the faces of several photos. Raises InvalidSubject."""
    return pool_vectors([probe.vector for probe in probes], [probe.quality.overall for probe in probes])


def template_in(request: Request, upload: Upload, name: str = "template") -> Template | None:
    """Take the template out of a body's fields, where a form has it as JSON text. Raises InvalidRequest, Forbidden."""
    value = upload.fields.pop(name, None)
    return None if value is None else parse_template(request, value)


def parse_template(request: Request, value: object) -> Template:
    """Return a template that a caller sent, who needs the role for it. Raises Forbidden, InvalidRequest."""
    require_role(request, "templates")
    try:
        return Template.model_validate(json.loads(value) if isinstance(value, str) else value)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("template: not a JSON object") from error


def template_vector(template: Template, scoring: Scoring) -> Vector:
    """Return a template's numbers [D] at unit length. Raises ModelMismatch, InvalidRequest, InvalidSubject."""
    if template.model != scoring.model:
        raise ModelMismatch(
            f"the template is of model {template.model[:12]}, it would be compared by {scoring.model[:12]}: "
            "make it again from its photos"
        )
    numbers = template.numbers()
    if len(numbers) != scoring.dimension or not np.isfinite(numbers).all():
        raise InvalidRequest(f"template: {scoring.dimension} finite numbers are needed")
    return unit_vector(numbers, scoring.dimension)


def probe_of_track(track: FaceTrack, model: str, faces_seen: int) -> Probe:
    """Return the face of a video's track: its best frame, with the vector pooled over the best POOLED frames."""
    best = [_probe_of(tracked.face, model, faces_seen) for tracked in track.ranked()[:POOLED]]
    quality = [probe.quality.overall for probe in best]
    vectors = [probe.vector for probe in best]
    return replace(
        best[0],
        vector=pool_vectors(vectors, quality),
        frames=np.stack(vectors),
        frame_quality=np.array(quality, np.float32),
    )


async def _probe_video(request: Request, video: bytes, choice: Choice, model: str) -> Probe | ServiceError:
    try:
        tracks = (await track_video(request, video, model)).tracks
    except (QueueFull, NotReady):
        raise
    except ServiceError as error:
        return error
    number = _number_of([track.best.face for track in tracks], len(tracks), choice)
    return number if isinstance(number, ServiceError) else probe_of_track(tracks[number], model, len(tracks))


def _chosen_face(outcome: AnalysisResult | ServiceError, choice: Choice) -> Probe | ServiceError:
    if isinstance(outcome, ServiceError):
        return outcome
    faces_seen = _faces_seen(outcome.analysis)
    number = _number_of(outcome.analysis.faces, faces_seen, choice)
    if isinstance(number, ServiceError):
        return number
    return _probe_of(outcome.analysis.faces[number], outcome.model, faces_seen)


def _number_of(faces: Sequence[FaceResult], faces_seen: int, choice: Choice) -> int | ServiceError:
    """Return the number of the chosen face, or why there is none."""
    if not faces:
        return NoFace()
    if choice == "only" and len(faces) > 1:
        boxes = [msgspec.to_builtins(face.box) for face in faces]
        return SeveralFaces(f"{faces_seen} faces were found; say which by `face`", boxes)
    number = choice if isinstance(choice, int) else 0
    return number if number < len(faces) else NoSuchFace(f"faces in the photo: {faces_seen}, counted from 0")


def _faces_seen(analysis: Analysis) -> int:
    return max(analysis.faces_seen, len(analysis.faces))  # workers of an earlier version do not count them


def _probe_of(face: FaceResult, model: str, faces_seen: int) -> Probe:
    assert face.quality is not None
    assert face.vector is not None
    vector = np.frombuffer(face.vector, "<f4").astype(np.float32)
    return Probe(
        model,
        vector,
        face.quality,
        _box(face),
        face.score,
        faces_seen,
        frames=vector[None],
        frame_quality=np.array([face.quality.overall], np.float32),
    )


def _box(face: FaceResult) -> Box:
    return Box.model_validate(msgspec.to_builtins(face.box))
