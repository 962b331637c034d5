"""CompreFace 1.2: its calls, mapped to ours. What is mapped and what is not is in docs/compatibility.md.

A key of exactly one collection is what CompreFace calls a recognition service; its faces are media of that collection.
"""

from __future__ import annotations

from contextlib import suppress

from fastapi import APIRouter, Request, Response

from service.config import Settings
from service.gallery import Vector
from service.gallery.checks import clean_name
from service.gallery.errors import CollectionNotFound, MediumNotFound, ModelMismatch, SeveralFaces, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.renaming import rename_subject
from service.gallery.scoring import Scoring
from service.http.auth import require_role
from service.http.compat import JsonObject, stored_faces
from service.http.compat import compreface as mapped
from service.http.compat import faces as shared
from service.http.compat.endpoints import COMPREFACE, RECOGNITION, STATIC_IMAGE
from service.http.compat.errors import SubjectExists
from service.http.compat.scale import COMPREFACE_SCALE as SCALE
from service.http.gallery_access import (
    in_gallery_thread,
    receipt_response,
    retry_on_model_change,
    scoring_for,
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
    query = mapped.read_query(request, mapped.FacesQuery)
    (photo,) = await mapped.read_photos(request, "file")
    result = await shared.analyze_face_photo(request, photo, query.options(DETECTED, compared=False))
    return {
        "result": [mapped.face_answer(face, result, query) for face in result.analysis.faces],
        **mapped.versions(result, query),
    }


@router.post(COMPREFACE + "/verification/verify")
async def verify_photos(request: Request) -> JsonObject:
    """Compare the one face of a photo with all faces of another."""
    query = mapped.read_query(request, mapped.FacesQuery)
    source, target = await mapped.read_photos(request, "source_image", "target_image")
    scoring = await model_scoring(request)
    options = query.model_copy(update={"limit": 2}).options(2, compared=True)  # a second face is an error
    source_result = await shared.analyze_face_photo(request, source, options, scoring.model)
    if len(source_result.analysis.faces) > 1:
        raise SeveralFaces
    target_result = await shared.analyze_face_photo(
        request, target, query.options(DETECTED, compared=True), scoring.model
    )
    (source_probe,) = shared.probes_of(source_result)
    matches = [
        mapped.face_answer(face, target_result, query)
        | {"similarity": shared.similarity_share(request, source_probe.vector, target_probe.vector, scoring, SCALE)}
        for face, target_probe in zip(target_result.analysis.faces, shared.probes_of(target_result), strict=True)
    ]
    compared = {
        "source_image_face": mapped.face_answer(source_result.analysis.faces[0], source_result, query),
        "face_matches": sorted(matches, key=lambda match: -match["similarity"]),
    }
    return {"result": [compared | mapped.versions(target_result, query)]}


@router.post(RECOGNITION + "/recognize")
async def recognize(request: Request) -> JsonObject:
    """Return the faces of a photo, each with the subjects of the collection that are most similar to it."""
    collection = mapped.service_collection(request)
    query = mapped.read_query(request, mapped.FacesQuery)
    (photo,) = await mapped.read_photos(request, "file")
    limit_probes(request, collection)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            scoring.calibrated()
            options = query.options(shared.searched_faces(request, query.limit), compared=True)
            result = await shared.analyze_face_photo(request, photo, options, scoring.model)
            vectors = [probe.vector for probe in shared.probes_of(result)]
            rows = await shared.search_vectors(request, collection, vectors, query.prediction_count, scoring, SCALE)
            faces = [
                mapped.face_answer(face, result, query) | {"subjects": _subjects(row)}
                for face, row in zip(result.analysis.faces, rows, strict=True)
            ]
            return {"result": faces, **mapped.versions(result, query)}
    raise ModelMismatch


@router.post(COMPREFACE + "/verification/embeddings/verify")
async def verify_embeddings(request: Request) -> JsonObject:
    """Compare one embedding with others."""
    require_role(request, "verify")
    body = await mapped.read_json(request, mapped.SourceAndTargets)
    scoring = await model_scoring(request)
    return _compared(request, shared.sent_vector(body.source, scoring), body.targets, scoring)


@router.post(RECOGNITION + "/embeddings/recognize")
async def recognize_embeddings(request: Request) -> JsonObject:
    """Return the subjects of the collection that are most similar to embeddings."""
    require_role(request, "verify")
    collection = mapped.service_collection(request)
    query = mapped.read_query(request, mapped.FacesQuery)
    body = await mapped.read_json(request, mapped.Embeddings)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            vectors = [shared.sent_vector(embedding, scoring) for embedding in body.embeddings]
            rows = await shared.search_vectors(request, collection, vectors, query.prediction_count, scoring, SCALE)
            pairs = zip(body.embeddings, rows, strict=True)
            return {"result": [{"embedding": embedding, "similarities": _subjects(row)} for embedding, row in pairs]}
    raise ModelMismatch


@router.post(RECOGNITION + "/embeddings/faces/{image_id}/verify")
async def verify_embeddings_with_face(request: Request, image_id: str) -> JsonObject:
    """Compare embeddings with a stored face."""
    require_role(request, "verify")
    collection = mapped.service_collection(request)
    stored, scoring = await shared.stored_face(request, collection, image_id)
    body = await mapped.read_json(request, mapped.Embeddings)
    return _compared(request, stored.medium.vectors.mean(0), body.embeddings, scoring)


@router.post(RECOGNITION + "/faces", status_code=201)
async def add_example(request: Request) -> JsonObject:
    """Store the one face of a photo under a subject; the first makes the collection."""
    settings: Settings = request.app.state.settings
    collection = mapped.service_collection(request)
    subject = mapped.required_subject(request)
    query = mapped.read_query(request, mapped.FacesQuery)
    (photo,) = await mapped.read_photos(request, "file")
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            options = Options(max_faces=2, min_score=query.det_prob_threshold, landmarks=False, template=True)
            probes = shared.probes_of(await shared.analyze_face_photo(request, photo, options, scoring.model))
            if len(probes) > 1:
                raise SeveralFaces
            await shared.make_collection(request, collection, scoring)
            face = await shared.add_face(request, collection, subject, probes[0], photo, settings.min_quality)
            return {"image_id": face.id, "subject": face.subject.id}
    raise ModelMismatch


@router.get(RECOGNITION + "/faces")
async def list_examples(request: Request) -> JsonObject:
    """List the stored faces, a page at a time."""
    collection = mapped.service_collection(request)
    query = mapped.read_query(request, mapped.PageQuery)
    faces = await in_gallery_thread(request, stored_faces.list_faces, collection, query.subject)
    size = min(query.size, mapped.LARGEST_PAGE)
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
    collection = mapped.service_collection(request)
    if "subject" not in request.query_params:
        receipts = await in_gallery_thread(request, stored_faces.delete_all_subjects, collection)
        return {"deleted": sum(receipt.media or 0 for receipt in receipts)}
    subject = mapped.required_subject(request)
    try:
        receipt = await in_gallery_thread(request, Gallery.delete_subject, collection, subject)
    except (CollectionNotFound, SubjectNotFound):
        return {"deleted": 0}
    return {"deleted": receipt_response(request, receipt).media or 0}


@router.post(RECOGNITION + "/faces/delete")
async def delete_several(request: Request) -> list[JsonObject]:
    """Delete stored faces by their ids; those that are not there are left out of the answer."""
    collection = mapped.service_collection(request)
    ids = await mapped.read_json(request, list[str])
    faces = await shared.find_faces(request, collection, ids)
    for face in faces.values():
        with suppress(MediumNotFound, SubjectNotFound):  # deleted meanwhile
            await in_gallery_thread(request, Gallery.delete_medium, collection, face.subject.id, face.medium.id)
    return [{"image_id": face.id, "subject": face.subject.id} for face in faces.values()]


@router.delete(RECOGNITION + "/faces/{image_id}")
async def delete_example(request: Request, image_id: str) -> JsonObject:
    """Delete the stored face of an id; its subject stays."""
    collection = mapped.service_collection(request)
    face = await shared.find_face(request, collection, image_id)
    request.state.audited |= {"subject": face.subject.id}
    await in_gallery_thread(request, Gallery.delete_medium, collection, face.subject.id, face.medium.id)
    return {"image_id": face.id, "subject": face.subject.id}


@router.get(STATIC_IMAGE, response_class=Response)
@router.get(RECOGNITION + "/faces/{image_id}/img", response_class=Response)
async def get_image(request: Request, image_id: str) -> Response:
    """Return the photo of a stored face; nothing where there is none, or where the collection keeps no photos."""
    collection = mapped.service_collection(request)
    try:
        face = await shared.find_face(request, collection, image_id)
        photo = await in_gallery_thread(request, Gallery.photo, collection, face.subject.id, face.medium.id)
    except (MediumNotFound, SubjectNotFound):
        photo = b""
    return Response(photo, media_type="application/octet-stream")


@router.post(RECOGNITION + "/faces/{image_id}/verify")
async def verify_with_example(request: Request, image_id: str) -> JsonObject:
    """Compare the faces of a photo with a stored face.

    A caller who may only compare and search learns no similarity of a face that does not match.
    """
    collection = mapped.service_collection(request)
    query = mapped.read_query(request, mapped.FacesQuery)
    (photo,) = await mapped.read_photos(request, "file")
    stored, scoring = await shared.stored_face(request, collection, image_id)
    limit_probes(request, collection, stored.subject.id)
    options = query.options(shared.searched_faces(request, query.limit), compared=True)
    result = await shared.analyze_face_photo(request, photo, options, scoring.model)
    stored_vector = stored.medium.vectors.mean(0)
    answers = []
    for number, (face, probe) in enumerate(zip(result.analysis.faces, shared.probes_of(result), strict=True)):
        if number:
            limit_probes(request, collection, stored.subject.id)
        share = shared.similarity_share(
            request, stored_vector, probe.vector, scoring, SCALE, coarse=not tells_scores(request)
        )
        is_told = tells_scores(request) or share >= SCALE.recommended
        answers.append(mapped.face_answer(face, result, query) | ({"similarity": share} if is_told else {}))
    return {"result": answers, **mapped.versions(result, query)}


@router.get(RECOGNITION + "/subjects")
async def list_subjects(request: Request) -> JsonObject:
    """List the names of all subjects."""
    collection = mapped.service_collection(request)
    return {"subjects": await in_gallery_thread(request, stored_faces.subject_names, collection)}


@router.post(RECOGNITION + "/subjects", status_code=201)
async def add_subject(request: Request) -> JsonObject:
    """Make a subject without faces."""
    collection = mapped.service_collection(request)
    name = (await mapped.read_json(request, mapped.NamedSubject)).subject
    request.state.audited |= {"subject": clean_name(name)}
    await shared.make_collection(request, collection, await scoring_for(request, collection))
    _, new = await in_gallery_thread(request, Gallery.put_subject, collection, name)
    if not new:
        raise SubjectExists
    return {"subject": name}


@router.delete(RECOGNITION + "/subjects")
async def delete_subjects(request: Request) -> JsonObject:
    """Delete all subjects."""
    receipts = await in_gallery_thread(request, stored_faces.delete_all_subjects, mapped.service_collection(request))
    return {"deleted": len(receipts)}


@router.put(RECOGNITION + "/subjects/{subject}")
async def rename(request: Request, subject: str) -> JsonObject:
    """Give a subject another name; one that has the name already gets its faces."""
    collection = mapped.service_collection(request)
    name = (await mapped.read_json(request, mapped.NamedSubject)).subject
    await in_gallery_thread(request, rename_subject, collection, subject, name)
    return {"updated": True}


@router.delete(RECOGNITION + "/subjects/{subject}")
async def delete_subject(request: Request, subject: str) -> JsonObject:
    """Delete a subject with all its faces."""
    collection = mapped.service_collection(request)
    receipt_response(request, await in_gallery_thread(request, Gallery.delete_subject, collection, subject))
    return {"subject": subject}


def _compared(request: Request, stored_vector: Vector, embeddings: list[list[float]], scoring: Scoring) -> JsonObject:
    vectors = [shared.sent_vector(embedding, scoring) for embedding in embeddings]
    shares = [shared.similarity_share(request, stored_vector, vector, scoring, SCALE) for vector in vectors]
    pairs = zip(embeddings, shares, strict=True)
    return {"result": [{"embedding": embedding, "similarity": share} for embedding, share in pairs]}


def _subjects(matches: list[shared.PlacedMatch]) -> list[JsonObject]:
    return [{"subject": match.subject, "similarity": match.share} for match in matches]
