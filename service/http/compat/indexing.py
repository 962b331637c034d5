"""Rekognition's IndexFaces: the faces of a photo become media, each with the place at which it was found."""

from __future__ import annotations

import uuid

from fastapi import Request

from service.gallery import Place
from service.gallery.errors import LowQuality
from service.http.compat import JsonObject, rekognition, users
from service.http.compat.faces import add_face, probes_of
from service.http.gallery_access import in_gallery_thread
from service.wire import AnalysisResult, FaceResult


async def index_photo(
    request: Request, message: rekognition.IndexFaces, photo: bytes, result: AnalysisResult, gate: float
) -> tuple[list[JsonObject], list[JsonObject]]:
    """Store the faces of a photo; return the records of those stored, and the others with the reasons.

    Raises ModelMismatch, CollectionNotFound, SubjectTooLarge.
    """
    image_id = str(uuid.uuid4())
    records: list[JsonObject] = []
    left_out: list[JsonObject] = []
    for face, probe in zip(result.analysis.faces, probes_of(result), strict=True):
        detail = rekognition.face_detail(face, result, message.detection_attributes)
        if len(records) >= message.max_faces:
            left_out.append({"FaceDetail": detail, "Reasons": ["EXCEEDS_MAX_FACES"]})
            continue
        name = None if records else message.external_image_id  # other faces of the photo are other people
        place = _place(face, result, image_id)
        try:
            stored = await add_face(request, message.collection_id, name, probe, photo, gate, place)
        except LowQuality:
            left_out.append({"FaceDetail": detail, "Reasons": rekognition.unindexed_reasons(probe.quality, gate)})
            continue
        stored_answer = await in_gallery_thread(
            request, users.with_external_id, message.collection_id, stored, message.external_image_id
        )
        records.append({"Face": stored_answer, "FaceDetail": detail})
    return records, left_out


def _place(face: FaceResult, result: AnalysisResult, image_id: str) -> Place:
    width, height = result.analysis.width, result.analysis.height
    box = face.box
    return Place(box.x / width, box.y / height, box.width / width, box.height / height, face.score, image_id)
