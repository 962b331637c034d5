"""Comparisons that touch no collection: two photos, a photo and a template, two templates; templates made of photos."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.config import Settings
from service.errors import InvalidRequest
from service.gallery.scoring import pool_vectors, similarity
from service.http.gallery_access import GALLERY_RESPONSES, TEMPLATE, TEMPLATE_REFERENCE, comparison_response
from service.http.options import merge_options
from service.http.probes import (
    model_scoring,
    parse_template,
    probe_every_photo,
    probe_vector,
    template_in,
    template_vector,
)
from service.http.routes.search import strict_rate
from service.http.uploads import Upload, read_upload, request_body
from service.schemas.comparisons import ComparisonResponse, VerifyOptions
from service.schemas.probes import Template, TemplateResponse, TemplatesOptions

router = APIRouter(tags=["identity"], responses=GALLERY_RESPONSES)
TWO = {"templates": {"type": "array", "minItems": 2, "maxItems": 2, "items": TEMPLATE_REFERENCE}}


@router.post(
    "/v1/compare",
    openapi_extra=request_body(VerifyOptions.model_json_schema()["properties"] | TEMPLATE | TWO, video=True),
)
async def compare(request: Request, query: Annotated[VerifyOptions, Query()]) -> ComparisonResponse:
    """Compare two faces: two photos, a photo and a `template`, or two `templates` (JSON).

    Templates need a key that grants `templates`.
    """
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings, image_needed=False)
    templates = _templates(request, upload)
    options = merge_options(query, upload)
    far = strict_rate("far", options.far, settings.far)
    if len(upload.images) + len(templates) != 2:
        raise InvalidRequest("send two photos, a photo and a template, or two templates")
    scoring = await model_scoring(request, templates[0].model if templates else None)
    scoring.calibrated()
    vectors = [template_vector(template, scoring) for template in templates]
    probes = []
    if upload.images:
        probes = await probe_every_photo(request, upload.images, options.face, scoring.model)
    first, second = [probe.vector for probe in probes] + vectors
    media = [1] * len(probes) + [template.media for template in templates]
    verdict = scoring.verdict(similarity(first, second), far, *media)
    return comparison_response(scoring, verdict, probes, settings.min_quality)


@router.post(
    "/v1/templates",
    openapi_extra=request_body(TemplatesOptions.model_json_schema()["properties"], video=True),
)
async def make_template(request: Request, query: Annotated[TemplatesOptions, Query()]) -> TemplateResponse:
    """Make one template of one or several photos of a person, for callers who keep it themselves."""
    settings: Settings = request.app.state.settings
    upload = await read_upload(request, settings)
    options = merge_options(query, upload)
    model = (await model_scoring(request)).model
    probes = await probe_every_photo(request, upload.images, options.face, model)
    if options.mode == "media":
        vector = probe_vector(probes)
    else:
        vector = pool_vectors([p.vector for p in probes], [p.quality.overall for p in probes], options.mode)
    faces = [probe.face_used(settings.min_quality) for probe in probes]
    return TemplateResponse(template=Template.of(model, vector, len(probes)), faces=faces)


def _templates(request: Request, upload: Upload) -> list[Template]:
    """Return the templates in a body. Raises InvalidRequest, Forbidden."""
    single = template_in(request, upload)
    pair = upload.fields.pop("templates", [])
    if not isinstance(pair, list) or len(pair) > 2:
        raise InvalidRequest("templates: a list of two")
    return ([single] if single else []) + [parse_template(request, item) for item in pair]
