"""Faces to compare, out of photos and templates that callers send: one face a photo, with its quality and vector."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fastapi import Request
from pydantic import ValidationError

from service.api.faces import invalid, outcomes_of
from service.api.uploads import Upload
from service.broker import ApiSide, Result
from service.errors import InvalidRequest, ServiceError
from service.gallery import LowQuality, ModelMismatch, NoFace, NoSuchFace, SeveralFaces, Vector
from service.gallery.scoring import Scoring, pool
from service.identity_schemas import Choice, Template
from service.schemas import JobOptions


@dataclass(frozen=True, eq=False)
class Probe:
    """One face of a photo: its vector [D] as the worker projected it, quality 0–1, and what callers are shown of it."""

    model: str
    vector: Vector = field(repr=False)
    quality: float
    factors: dict[str, Any]
    box: dict[str, float]

    def used(self, gate: float) -> dict[str, Any]:
        """FaceUsed, with the reasons that keep it below a quality."""
        reasons = [text for text in self.factors["reasons"] if self.factors[text.partition(":")[0]] < gate]
        return {"box": self.box, "quality": self.factors | {"reasons": reasons}}


async def scoring(request: Request, wanted: str | None = None) -> Scoring:
    """That of the model wanted while a worker has it, else of the model which answers now. Raises NotReady."""
    broker: ApiSide = request.app.state.broker
    workers = await broker.workers()
    return Scoring.of([worker for worker in workers if worker.digest == wanted] or workers)


async def probes(request: Request, photos: Sequence[bytes], choice: Choice, model: str) -> list[Probe | ServiceError]:
    """What became of each photo by a model. Raises QueueFull, NotReady, an error of ours when there is nothing else."""
    most = {"largest": 1, "only": 2}.get(choice, 0) if isinstance(choice, str) else choice + 1
    options = JobOptions.model_validate({"max_faces": most, "landmarks": False, "template": True})
    found = [_probe(outcome, choice) for outcome in await outcomes_of(request, photos, options, model)]
    ours = [outcome for outcome in found if isinstance(outcome, ServiceError) and outcome.status >= 500]
    if ours and len(ours) == len(found):
        raise ours[0]
    return found


async def all_probes(request: Request, photos: Sequence[bytes], choice: Choice, model: str) -> list[Probe]:
    """The faces of photos that must all show one. Raises the first one's error otherwise."""
    found = []
    for number, outcome in enumerate(await probes(request, photos, choice, model)):
        if isinstance(outcome, ServiceError):
            if len(photos) > 1:
                outcome.detail = f"photo {number}: {outcome.detail}"
            raise outcome
        found.append(outcome)
    return found


def good_enough(probe: Probe, gate: float) -> LowQuality | None:
    """What is wrong with a face that is to be enrolled."""
    if probe.quality >= gate:
        return None
    reasons = "; ".join(probe.used(gate)["quality"]["reasons"])
    return LowQuality(f"quality {probe.quality:.2f}, at least {gate:.2f} is needed: {reasons}")


def pooled(found: Sequence[Probe]) -> Vector:
    """One probe [D] of unit length of the faces of several photos. Raises InvalidSubject."""
    return pool([probe.vector for probe in found], [probe.quality for probe in found])


def template_in(upload: Upload, name: str = "template") -> Template | None:
    """Takes the template out of a body's fields, where a form has it as JSON text. Raises InvalidRequest."""
    given = upload.fields.pop(name, None)
    return None if given is None else parsed_template(given)


def parsed_template(given: object) -> Template:
    """Raises InvalidRequest, without quoting it."""
    try:
        return Template.model_validate(json.loads(given) if isinstance(given, str) else given)
    except ValidationError as error:
        raise invalid(error.errors()) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("template: not a JSON object") from error


def check_model(template: Template, answering: Scoring) -> Vector:
    """A template's numbers [D]. Raises ModelMismatch for another model's, InvalidRequest for another length."""
    if template.model != answering.model:
        raise ModelMismatch(
            f"the template is of model {template.model[:12]}, it would be compared by {answering.model[:12]}: "
            "make it again from its photos"
        )
    numbers = template.numbers()
    if len(numbers) != answering.dimension or not np.isfinite(numbers).all():
        raise InvalidRequest(f"template: {answering.dimension} finite numbers are needed")
    return numbers


def _probe(outcome: Result | ServiceError, choice: Choice) -> Probe | ServiceError:
    if isinstance(outcome, ServiceError):
        return outcome
    faces = (outcome.analysis or {}).get("faces", [])
    if not faces:
        return NoFace()
    if choice == "only" and len(faces) > 1:
        return SeveralFaces("the photo shows several faces; say which by `face`")
    number = choice if isinstance(choice, int) else 0
    if number >= len(faces):
        return NoSuchFace(f"the photo shows {len(faces)} faces, counted from 0")
    face = faces[number]
    quality = face["quality"]
    return Probe(outcome.model, np.array(face["vector"], np.float32), quality["overall"], quality, face["box"])
