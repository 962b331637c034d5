"""CompreFace 1.2: its calls, mapped to ours. What is mapped and what is not is in docs/compatibility.md.

A key of exactly one collection is what CompreFace calls a recognition service; its faces are media of that collection.
"""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response

from service.config import Settings
from service.gallery import Vector
from service.gallery.errors import CollectionNotFound, MediumNotFound, ModelMismatch, SeveralFaces, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring
from service.http.auth import require_role
from service.http.compat import JsonObject, stored_faces
from service.http.compat.compreface import (
    LARGEST_PAGE,
    Embeddings,
    FacesQuery,
    PageQuery,
    SourceAndTargets,
    face_answer,
    read_json,
    read_photos,
    read_query,
    required_subject,
    service_collection,
    versions,
)
from service.http.compat.endpoints import COMPREFACE, RECOGNITION, STATIC_IMAGE
from service.http.compat.faces import (
    PlacedMatch,
    add_face,
    analyze_face_photo,
    find_face,
    find_faces,
    make_collection,
    probes_of,
    search_vectors,
    searched_faces,
    sent_vector,
    similarity_share,
    stored_face,
)
from service.http.compat.scale import COMPREFACE_SCALE as SCALE
from service.http.gallery_access import (
    in_gallery_thread,
    receipt_response,
    retry_on_model_change,
    tells_scores,
)
from service.http.matches import limit_probes
from service.http.probes import model_scoring
from service.wire import Options

router = APIRouter(include_in_schema=False)
DETECTED = 1000
"""Faces of a photo that are detected, the largest ones."""


@router.post(COMPREFACE + "/detection/detect")
async def detect(request: Request) -> JsonObject:
    """Return the faces of a photo."""
    query = read_query(request, FacesQuery)
    (photo,) = await read_photos(request, "file")
    result = await analyze_face_photo(request, photo, query.options(DETECTED, compared=False))
    return {
        "result": [face_answer(face, result, query) for face in result.analysis.faces],
        **versions(result, query),
    }


@router.post(COMPREFACE + "/verification/verify")
async def verify_photos(request: Request) -> JsonObject:
    """Compare the one face of a photo with all faces of another."""
    query = read_query(request, FacesQuery)
    source, target = await read_photos(request, "source_image", "target_image")
    scoring = await model_scoring(request)
    options = query.model_copy(update={"limit": 2}).options(2, compared=True)  # a second face is an error
    source_result = await analyze_face_photo(request, source, options, scoring.model)
    if len(source_result.analysis.faces) > 1:
        raise SeveralFaces
    target_result = await analyze_face_photo(request, target, query.options(DETECTED, compared=True), scoring.model)
    (source_probe,) = probes_of(source_result)
    matches = [
        face_answer(face, target_result, query)
        | {"similarity": similarity_share(request, source_probe.vector, target_probe.vector, scoring, SCALE)}
        for face, target_probe in zip(target_result.analysis.faces, probes_of(target_result), strict=True)
    ]
    compared = {
        "source_image_face": face_answer(source_result.analysis.faces[0], source_result, query),
        "face_matches": sorted(matches, key=lambda match: -match["similarity"]),
    }
    return {"result": [compared | versions(target_result, query)]}


@router.post(RECOGNITION + "/recognize")
async def recognize(request: Request) -> JsonObject:
    """Return the faces of a photo, each with the subjects of the collection that are most similar to it."""
    collection = service_collection(request)
    query = read_query(request, FacesQuery)
    (photo,) = await read_photos(request, "file")
    limit_probes(request, collection)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            scoring.calibrated()
            options = query.options(searched_faces(request, query.limit), compared=True)
            result = await analyze_face_photo(request, photo, options, scoring.model)
            vectors = [probe.vector for probe in probes_of(result)]
            rows = await search_vectors(request, collection, vectors, query.prediction_count, scoring, SCALE)
            faces = [
                face_answer(face, result, query) | {"subjects": _subjects(row)}
                for face, row in zip(result.analysis.faces, rows, strict=True)
            ]
            return {"result": faces, **versions(result, query)}
    raise ModelMismatch


@router.post(COMPREFACE + "/verification/embeddings/verify")
async def verify_embeddings(request: Request) -> JsonObject:
    """Compare one embedding with others."""
    require_role(request, "verify")
    body = await read_json(request, SourceAndTargets)
    scoring = await model_scoring(request)
    return _compared(request, sent_vector(body.source, scoring), body.targets, scoring)


@router.post(RECOGNITION + "/embeddings/recognize")
async def recognize_embeddings(request: Request) -> JsonObject:
    """Return the subjects of the collection that are most similar to embeddings."""
    require_role(request, "verify")
    collection = service_collection(request)
    query = read_query(request, FacesQuery)
    body = await read_json(request, Embeddings)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            vectors = [sent_vector(embedding, scoring) for embedding in body.embeddings]
            rows = await search_vectors(request, collection, vectors, query.prediction_count, scoring, SCALE)
            pairs = zip(body.embeddings, rows, strict=True)
            return {"result": [{"embedding": embedding, "similarities": _subjects(row)} for embedding, row in pairs]}
    raise ModelMismatch


@router.post(RECOGNITION + "/embeddings/faces/{image_id}/verify")
async def verify_embeddings_with_face(request: Request, image_id: str) -> JsonObject:
    """Compare embeddings with a stored face."""
    require_role(request, "verify")
    collection = service_collection(request)
    stored, scoring = await stored_face(request, collection, image_id)
    body = await read_json(request, Embeddings)
    return _compared(request, stored.medium.vectors.mean(0), body.embeddings, scoring)


@router.post(RECOGNITION + "/faces", status_code=201)
async def add_example(request: Request) -> JsonObject:
    """Store the one face of a photo under a subject; the first makes the collection."""
    settings: Settings = request.app.state.settings
    collection = service_collection(request)
    subject = required_subject(request)
    query = read_query(request, FacesQuery)
    (photo,) = await read_photos(request, "file")
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            options = Options(max_faces=2, min_score=query.det_prob_threshold, landmarks=False, template=True)
            probes = probes_of(await analyze_face_photo(request, photo, options, scoring.model))
            if len(probes) > 1:
                raise SeveralFaces
            await make_collection(request, collection, scoring)
            face = await add_face(request, collection, subject, probes[0], photo, settings.min_quality)
            return {"image_id": face.id, "subject": face.subject.id}
    raise ModelMismatch


@router.get(RECOGNITION + "/faces")
async def list_examples(request: Request) -> JsonObject:
    """List the stored faces, a page at a time."""
    collection = service_collection(request)
    query = read_query(request, PageQuery)
    faces = await in_gallery_thread(request, stored_faces.list_faces, collection, query.subject)
    size = min(query.size, LARGEST_PAGE)
    page = faces[query.page * size : (query.page + 1) * size]
    return {
        "faces": [{"image_id": image_id, "subject": name} for image_id, name in page],
        "page_number": query.page,
        "page_size": size,
        "total_pages": -(-len(faces) // size),
        "total_elements": len(faces),
    }


@router.delete(RECOGNITION + "/faces")
async def delete_examples(request: Request) -> JsonObject:
    """Delete a subject with all its faces, or all subjects where none is named; as CompreFace does."""
    collection = service_collection(request)
    if "subject" not in request.query_params:
        receipts = await in_gallery_thread(request, stored_faces.delete_all_subjects, collection)
        return {"deleted": sum(receipt.media or 0 for receipt in receipts)}
    subject = required_subject(request)
    try:
        receipt = await in_gallery_thread(request, Gallery.delete_subject, collection, subject)
    except (CollectionNotFound, SubjectNotFound):
        return {"deleted": 0}
    return {"deleted": receipt_response(request, receipt).media or 0}


@router.post(RECOGNITION + "/faces/delete")
async def delete_several(request: Request) -> list[JsonObject]:
    """Delete stored faces by their ids; those that are not there are left out of the answer."""
    collection = service_collection(request)
    ids = await read_json(request, list[str])
    faces = await find_faces(request, collection, ids)
    for face in faces.values():
        with suppress(MediumNotFound, SubjectNotFound):  # deleted meanwhile
            await in_gallery_thread(request, Gallery.delete_medium, collection, face.subject.id, face.medium.id)
    return [{"image_id": face.id, "subject": face.subject.id} for face in faces.values()]


@router.delete(RECOGNITION + "/faces/{image_id}")
async def delete_example(request: Request, image_id: str) -> JsonObject:
    """Delete the stored face of an id; its subject stays."""
    collection = service_collection(request)
    face = await find_face(request, collection, image_id)
    request.state.audited |= {"subject": face.subject.id}
    await in_gallery_thread(request, Gallery.delete_medium, collection, face.subject.id, face.medium.id)
    return {"image_id": face.id, "subject": face.subject.id}


@router.get(STATIC_IMAGE, response_class=Response)
@router.get(RECOGNITION + "/faces/{image_id}/img", response_class=Response)
async def get_image(request: Request, image_id: str) -> Response:
    """Return the photo of a stored face; nothing where there is none, or where the collection keeps no photos."""
    collection = service_collection(request)
    try:
        face = await find_face(request, collection, image_id)
        photo = await in_gallery_thread(request, Gallery.photo, collection, face.subject.id, face.medium.id)
    except (MediumNotFound, SubjectNotFound):
        photo = b""
    return Response(photo, media_type="application/octet-stream")


@router.post(RECOGNITION + "/faces/{image_id}/verify")
async def verify_with_example(request: Request, image_id: str) -> JsonObject:
    """Compare the faces of a photo with a stored face.

    A caller who may only compare and search learns no similarity of a face that does not match.
    """
    collection = service_collection(request)
    query = read_query(request, FacesQuery)
    (photo,) = await read_photos(request, "file")
    stored, scoring = await stored_face(request, collection, image_id)
    limit_probes(request, collection, stored.subject.id)
    options = query.options(searched_faces(request, query.limit), compared=True)
    result = await analyze_face_photo(request, photo, options, scoring.model)
    stored_vector = stored.medium.vectors.mean(0)
    answers = []
    for number, (face, probe) in enumerate(zip(result.analysis.faces, probes_of(result), strict=True)):
        if number:
            limit_probes(request, collection, stored.subject.id)
        share = similarity_share(request, stored_vector, probe.vector, scoring, SCALE, coarse=not tells_scores(request))
        is_told = tells_scores(request) or share >= SCALE.recommended
        answers.append(face_answer(face, result, query) | ({"similarity": share} if is_told else {}))
    return {"result": answers, **versions(result, query)}


def _compared(request: Request, stored_vector: Vector, embeddings: list[list[float]], scoring: Scoring) -> JsonObject:
    vectors = [sent_vector(embedding, scoring) for embedding in embeddings]
    shares = [similarity_share(request, stored_vector, vector, scoring, SCALE) for vector in vectors]
    pairs = zip(embeddings, shares, strict=True)
    return {"result": [{"embedding": embedding, "similarity": share} for embedding, share in pairs]}


def _subjects(matches: list[PlacedMatch]) -> list[JsonObject]:
    return [{"subject": match.subject, "similarity": match.share} for match in matches]
