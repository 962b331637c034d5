"""Comparisons that touch no collection: two photos, a photo and a template, two templates; templates made of photos."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from service.api.faces import merged
from service.api.gallery import STORED, TEMPLATE, VERIFY
from service.api.probes import all_probes, check_model, parsed_template, pooled, scoring, template_in
from service.api.uploads import Upload, read_upload, request_body
from service.audit import Audited
from service.config import Settings
from service.errors import InvalidRequest
from service.gallery.scoring import pool, similarity
from service.identity_schemas import ComparisonAnswer, Template, TemplateAnswer, TemplatesAsked, VerifyAsked

router = APIRouter(tags=["identity"], route_class=Audited, responses=STORED)
TWO = {"templates": {"type": "array", "minItems": 2, "maxItems": 2, "items": Template.model_json_schema()}}


@router.post(
    "/v1/compare",
    dependencies=[VERIFY],
    response_model=ComparisonAnswer,
    openapi_extra=request_body(VerifyAsked.model_json_schema()["properties"] | TEMPLATE | TWO),
)
async def compare(request: Request, query: Annotated[VerifyAsked, Query()]) -> dict[str, Any]:
    """Are these the same person? Two photos, or a photo and a `template`, or two `templates` (JSON)."""
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    templates = _templates(upload)
    asked = merged(query, upload)
    if len(upload.images) + len(templates) != 2:
        raise InvalidRequest("send two photos, a photo and a template, or two templates")
    answering = await scoring(request, templates[0].model if templates else None)
    answering.calibrated()
    stored = [check_model(template, answering) for template in templates]
    found = await all_probes(request, upload.images, asked.face, answering.model) if upload.images else []
    vectors = [probe.vector for probe in found] + stored
    media = [1] * len(found) + [template.media for template in templates]
    verdict = answering.verdict(similarity(*vectors), asked.far or settings.far, *media)
    return verdict | {"faces": [probe.used(settings.min_quality) for probe in found]}


@router.post(
    "/v1/templates",
    dependencies=[VERIFY],
    response_model=TemplateAnswer,
    openapi_extra=request_body(TemplatesAsked.model_json_schema()["properties"]),
)
async def make_template(request: Request, query: Annotated[TemplatesAsked, Query()]) -> dict[str, Any]:
    """One template of one or several photos of a person, for callers who keep it themselves."""
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings)
    asked = merged(query, upload)
    found = await all_probes(request, upload.images, asked.face, (await scoring(request)).model)
    if asked.mode == "media":
        vector = pooled(found)
    else:
        vector = pool([probe.vector for probe in found], [probe.quality for probe in found], asked.mode)
    faces = [probe.used(settings.min_quality) for probe in found]
    return {"template": Template.of(found[0].model, vector, len(found)), "faces": faces}


def _templates(upload: Upload) -> list[Template]:
    """Those of the body. Raises InvalidRequest."""
    one, many = template_in(upload), upload.fields.pop("templates", [])
    if not isinstance(many, list) or len(many) > 2:
        raise InvalidRequest("templates: a list of two")
    return ([one] if one else []) + [parsed_template(item) for item in many]
