"""Faces sorted into people: POST /v1/clusters, and with the names of a collection. Nothing is stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request

from model.identity.clusters import Clustering
from service.config import Settings
from service.errors import InvalidRequest, NoImage
from service.gallery.errors import ModelMismatch
from service.gallery.scoring import Scoring, pool_vectors
from service.http.gallery_access import GALLERY_RESPONSES, retry_on_model_change
from service.http.matches import search_gallery
from service.http.options import merge_options
from service.http.piles import Pile, clusters_response, pile_of_photos, pile_of_templates, sort_pile
from service.http.probes import model_scoring
from service.http.uploads import Upload, read_upload, request_body
from service.schemas.clusters import ClusterOptions, ClustersResponse, ClusterTemplate

router = APIRouter(tags=["identity"], responses=GALLERY_RESPONSES)
TEMPLATES = {"templates": {"type": "array", "minItems": 1, "items": ClusterTemplate.model_json_schema()}}
BODY = request_body(ClusterOptions.model_json_schema()["properties"] | TEMPLATES)


@router.post("/v1/clusters", openapi_extra=BODY)
async def cluster(request: Request, query: Annotated[ClusterOptions, Query()]) -> ClustersResponse:
    """Sort the faces of photos, or `templates` (JSON), into people; as many photos as a job may have.

    Two faces of one photo are never one person. A photo that cannot be analyzed stands among the `errors`. Templates
    need a key that grants `templates`.
    """
    upload, options = await _read(request, query)
    scoring = await model_scoring(request)
    pile, clustering = await _sorted_pile(request, upload, options, scoring)
    return clusters_response(pile, clustering, scoring.model)


@router.post("/v1/collections/{collection}/clusters", openapi_extra=BODY)
async def cluster_with_names(
    request: Request, collection: str, query: Annotated[ClusterOptions, Query()]
) -> ClustersResponse:
    """Sort faces into people as `/v1/clusters` does, and name those who are subjects of a collection.

    A person is named as a search for all faces of the cluster names them.
    """
    upload, options = await _read(request, query)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            pile, clustering = await _sorted_pile(request, upload, options, scoring)
            names = await asyncio.to_thread(name_people, request, collection, pile, clustering, scoring)
            return clusters_response(pile, clustering, scoring.model, names)
    raise ModelMismatch


async def _read(request: Request, query: ClusterOptions) -> tuple[Upload, ClusterOptions]:
    """Return the photos or templates, and the options. Raises InvalidRequest for both, NoImage for neither."""
    settings: Settings = request.app.state.settings
    pile_settings = settings.model_copy(update={"max_images": settings.job_images})
    upload = await read_upload(request, pile_settings, image_needed=False, many_templates=True)
    templates = "templates" in upload.fields
    if templates and upload.images:
        raise InvalidRequest("send either photos or templates")
    if not templates and not upload.images:
        raise NoImage
    fields = {name: value for name, value in upload.fields.items() if name != "templates"}
    return upload, merge_options(query, replace(upload, fields=fields))


async def _sorted_pile(
    request: Request, upload: Upload, options: ClusterOptions, scoring: Scoring
) -> tuple[Pile, Clustering]:
    settings: Settings = request.app.state.settings
    scoring.calibrated()  # an uncalibrated model is refused before the work
    if "templates" in upload.fields:
        text = upload.fields["templates"]
        templates = text.encode() if isinstance(text, str) else bytes(text)
        pile = await asyncio.to_thread(pile_of_templates, request, templates, scoring)
    else:
        pile = await pile_of_photos(request, upload.images, options.max_faces, scoring.model)
    return pile, await asyncio.to_thread(sort_pile, pile, scoring, settings.min_quality)


def name_people(
    request: Request, collection: str, pile: Pile, clustering: Clustering, scoring: Scoring
) -> dict[int, str]:
    """Return who of a collection the people are, by the exemplar of a cluster or the number of a single face.

    Searches in this thread. Raises what a search raises.
    """
    settings: Settings = request.app.state.settings
    people = [(cluster.exemplar, cluster.faces) for cluster in clustering.clusters] + [
        (face, (face,)) for face in clustering.single
    ]
    names: dict[int, str] = {}
    for exemplar, faces in people:
        vector = pool_vectors([pile.vectors[face] for face in faces], [pile.quality[face] for face in faces])
        result = search_gallery(request, collection, scoring.model, vector, 1)
        for match in result.matches:
            threshold = scoring.identification(result.gallery_size, settings.fpir, match.media, len(faces))
            if match.similarity >= threshold:
                names[exemplar] = match.subject
    return names
