"""Amazon Rekognition: its operations, mapped to ours. What is mapped and what is not is in docs/compatibility.md.

IndexFaces makes a subject of an ExternalImageId, and one of each face without it. A face is a medium of its subject.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.config import Settings
from service.gallery import Subject, Vector
from service.gallery.errors import CollectionExists, InvalidSubject, ModelMismatch
from service.gallery.gallery import Gallery
from service.gallery.scoring import Scoring
from service.http.compat import JsonObject, rekognition, users
from service.http.compat.endpoints import REKOGNITION
from service.http.compat.errors import InvalidPaginationToken
from service.http.compat.faces import (
    PlacedMatch,
    analyze_face_photo,
    analyze_photo,
    find_face,
    find_faces,
    probes_of,
    search_vectors,
    share_of_face,
    similarity_share,
)
from service.http.compat.indexing import index_photo
from service.http.compat.rekognition import answer
from service.http.compat.scale import REKOGNITION_SCALE as SCALE
from service.http.compat.stored_faces import StoredFace, faces_after
from service.http.gallery_access import in_gallery_thread, receipt_response, retry_on_model_change, scoring_for
from service.http.matches import limit_probes
from service.http.probes import model_scoring
from service.keys import Key
from service.wire import Options

router = APIRouter(prefix=REKOGNITION, include_in_schema=False)
FACES = 100
"""Faces of a photo, the largest ones."""
MOST_MATCHES = 4096
MOST_USERS = 500


@router.post("/DetectFaces")
async def detect_faces(request: Request) -> Response:
    """Return the faces of a photo."""
    message = await rekognition.read_request(request, rekognition.DetectFaces)
    photo = await rekognition.photo_of(request, message.image)
    result = await analyze_photo(request, photo, Options(max_faces=FACES, quality=True))
    faces = [rekognition.face_detail(face, result, message.attributes) for face in result.analysis.faces]
    return answer(FaceDetails=faces)


@router.post("/CompareFaces")
async def compare_faces(request: Request) -> Response:
    """Compare the largest face of a photo with all faces of another."""
    message = await rekognition.read_request(request, rekognition.CompareFaces)
    threshold = rekognition.share_of("SimilarityThreshold", message.similarity_threshold)
    source = await rekognition.photo_of(request, message.source_image)
    target = await rekognition.photo_of(request, message.target_image)
    scoring = await model_scoring(request)
    source_result = await analyze_face_photo(request, source, Options(max_faces=1, template=True), scoring.model)
    target_result = await analyze_face_photo(request, target, Options(max_faces=FACES, template=True), scoring.model)
    (source_probe,) = probes_of(source_result)
    matches: list[JsonObject] = []
    unmatched: list[JsonObject] = []
    for face, target_probe in zip(target_result.analysis.faces, probes_of(target_result), strict=True):
        share = similarity_share(request, source_probe.vector, target_probe.vector, scoring, SCALE)
        detail = rekognition.compared_face(face, target_result)
        if share >= threshold:
            matches.append({"Similarity": round(100 * share, 3), "Face": detail})
        else:
            unmatched.append(detail)
    source_detail = rekognition.compared_face(source_result.analysis.faces[0], source_result)
    source_face = {name: source_detail[name] for name in ("BoundingBox", "Confidence")}
    ranked = sorted(matches, key=lambda match: -match["Similarity"])
    return answer(SourceImageFace=source_face, FaceMatches=ranked, UnmatchedFaces=unmatched)


@router.post("/CreateCollection")
async def create_collection(request: Request) -> Response:
    """Create a collection; one that exists is an error."""
    message = await rekognition.read_request(request, rekognition.OfCollection)
    scoring = await scoring_for(request, message.collection_id)
    stored, new = await in_gallery_thread(
        request, Gallery.put_collection, message.collection_id, scoring.model, scoring.dimension
    )
    if not new:
        raise CollectionExists
    return answer(StatusCode=200, FaceModelVersion=stored.model)


@router.post("/ListCollections")
async def list_collections(request: Request) -> Response:
    """List the collections that the caller's key reaches."""
    message = await rekognition.read_request(request, rekognition.ListCollections)
    count = max(1, rekognition.within("MaxResults", message.max_results, 0, 4096))
    try:
        page = await in_gallery_thread(request, Gallery.collections, message.next_token, count)
    except InvalidSubject as error:
        raise InvalidPaginationToken from error
    key: Key | None = request.state.key
    visible = [collection for collection in page.items if key is None or key.reaches(collection.name)]
    return answer(
        CollectionIds=[collection.name for collection in visible],
        FaceModelVersions=[collection.model for collection in visible],
        NextToken=page.cursor,
    )


@router.post("/DescribeCollection")
async def describe_collection(request: Request) -> Response:
    """Count the faces and users of a collection."""
    message = await rekognition.read_request(request, rekognition.OfCollection)
    stored = await in_gallery_thread(request, Gallery.collection, message.collection_id)
    faces, people = await in_gallery_thread(request, users.count_faces_and_users, message.collection_id)
    created = round(stored.created, 3)
    return answer(FaceCount=faces, UserCount=people, FaceModelVersion=stored.model, CreationTimestamp=created)


@router.post("/DeleteCollection")
async def delete_collection(request: Request) -> Response:
    """Delete a collection with all its faces and users."""
    message = await rekognition.read_request(request, rekognition.OfCollection)
    receipt_response(request, await in_gallery_thread(request, Gallery.delete_collection, message.collection_id))
    return answer(StatusCode=200)


@router.post("/IndexFaces")
async def index_faces(request: Request) -> Response:
    """Store the faces of a photo: the largest under the external image id, others as subjects of their own."""
    message = await rekognition.read_request(request, rekognition.IndexFaces)
    rekognition.within("MaxFaces", message.max_faces, 1, MOST_MATCHES)
    settings: Settings = request.app.state.settings
    gate = 0.0 if message.quality_filter == "NONE" else settings.min_quality
    photo = await rekognition.photo_of(request, message.image)
    collection = message.collection_id
    await in_gallery_thread(request, Gallery.collection, collection)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            options = Options(max_faces=FACES, template=True)
            result = await analyze_photo(request, photo, options, scoring.model)
            records, left_out = await index_photo(request, message, photo, result, gate)
            return answer(FaceRecords=records, UnindexedFaces=left_out, FaceModelVersion=result.model)
    raise ModelMismatch


@router.post("/ListFaces")
async def list_faces(request: Request) -> Response:
    """List the stored faces, a part at a time."""
    message = await rekognition.read_request(request, rekognition.ListFaces)
    count = max(1, rekognition.within("MaxResults", message.max_results, 0, 4096))
    stored = await in_gallery_thread(request, Gallery.collection, message.collection_id)

    def is_wanted(face: StoredFace) -> bool:
        return message.user_id in (None, users.face_answer(face).get("UserId"))

    token: str | None = None
    if message.face_ids is not None:
        rekognition.within("FaceIds", len(message.face_ids), 0, MOST_MATCHES)
        faces_by_id = await find_faces(request, message.collection_id, message.face_ids)
        faces = [face for face in faces_by_id.values() if is_wanted(face)]
    else:
        try:
            faces, token = await in_gallery_thread(
                request, faces_after, message.collection_id, message.next_token, count, is_wanted
            )
        except InvalidSubject as error:
            raise InvalidPaginationToken from error
    return answer(Faces=[users.face_answer(face) for face in faces], NextToken=token, FaceModelVersion=stored.model)


@router.post("/DeleteFaces")
async def delete_faces(request: Request) -> Response:
    """Delete stored faces, those of users too."""
    message = await rekognition.read_request(request, rekognition.DeleteFaces)
    await in_gallery_thread(request, Gallery.collection, message.collection_id)
    faces_by_id = await find_faces(request, message.collection_id, message.face_ids)
    deleted = [
        face.id
        for face in faces_by_id.values()
        if await in_gallery_thread(request, users.delete_face, message.collection_id, face)
    ]
    missing = [face_id for face_id in message.face_ids if face_id.lower() not in deleted]
    failed = [{"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]} for face_id in missing]
    return answer(DeletedFaces=deleted, UnsuccessfulFaceDeletions=failed)


@router.post("/SearchFaces")
async def search_faces(request: Request) -> Response:
    """Search for a stored face; the face itself is not among the matches."""
    message = await rekognition.read_request(request, rekognition.SearchFaces)
    threshold = rekognition.share_of("FaceMatchThreshold", message.face_match_threshold)
    count = rekognition.within("MaxFaces", message.max_faces, 1, MOST_MATCHES)
    limit_probes(request, message.collection_id)
    stored = await in_gallery_thread(request, Gallery.collection, message.collection_id)
    face = await find_face(request, message.collection_id, message.face_id)
    scoring = await scoring_for(request, message.collection_id)
    vector: Vector = face.medium.vectors.mean(0)
    (row,) = await search_vectors(request, message.collection_id, [vector], count + 1, scoring, SCALE)
    share_of = share_of_face(request, vector, scoring, SCALE)
    matches = await in_gallery_thread(
        request, users.matching_faces, message.collection_id, row, threshold, vector, share_of, face.id
    )
    return answer(SearchedFaceId=face.id, FaceMatches=matches[:count], FaceModelVersion=stored.model)


@router.post("/SearchFacesByImage")
async def search_faces_by_image(request: Request) -> Response:
    """Search for the largest face of a photo: the stored faces that are like it, of the subjects that match."""
    message = await rekognition.read_request(request, rekognition.SearchFacesByImage)
    threshold = rekognition.share_of("FaceMatchThreshold", message.face_match_threshold)
    count = rekognition.within("MaxFaces", message.max_faces, 1, MOST_MATCHES)
    detail, vector, row, scoring = await _searched(request, message.collection_id, message.image, count)
    share_of = share_of_face(request, vector, scoring, SCALE)
    matches = await in_gallery_thread(
        request, users.matching_faces, message.collection_id, row, threshold, vector, share_of
    )
    return answer(
        SearchedFaceBoundingBox=detail["BoundingBox"],
        SearchedFaceConfidence=detail["Confidence"],
        FaceMatches=matches[:count],
        FaceModelVersion=scoring.model,
    )


@router.post("/SearchUsersByImage")
async def search_users_by_image(request: Request) -> Response:
    """Search the users for the largest face of a photo."""
    message = await rekognition.read_request(request, rekognition.SearchUsersByImage)
    threshold = rekognition.share_of("UserMatchThreshold", message.user_match_threshold)
    count = rekognition.within("MaxUsers", message.max_users, 1, MOST_USERS)
    detail, _, row, scoring = await _searched(request, message.collection_id, message.image, MOST_USERS)
    matches = [
        {"Similarity": round(100 * match.share, 3), "User": {"UserId": match.subject, "UserStatus": "ACTIVE"}}
        for match in row
        if users.is_user(match.metadata) and match.share >= threshold
    ]
    return answer(UserMatches=matches[:count], SearchedFace={"FaceDetail": detail}, FaceModelVersion=scoring.model)


@router.post("/CreateUser")
async def create_user(request: Request) -> Response:
    """Make a user, to whom faces can be associated."""
    message = await rekognition.read_request(request, rekognition.CreateUser)
    await in_gallery_thread(request, users.make_user, message.collection_id, message.user_id)
    return answer()


@router.post("/AssociateFaces")
async def associate_faces(request: Request) -> Response:
    """Give stored faces to a user: they are moved there."""
    message = await rekognition.read_request(request, rekognition.AssociateFaces)
    threshold = rekognition.share_of("UserMatchThreshold", message.user_match_threshold)
    scoring = await scoring_for(request, message.collection_id)
    scoring.calibrated()
    faces_by_id = await find_faces(request, message.collection_id, message.face_ids)

    def confidence(face: StoredFace, user: Subject) -> float:
        assert user.template is not None
        return similarity_share(request, face.medium.vectors.mean(0), user.template, scoring, SCALE)

    faces = {face_id: faces_by_id.get(face_id.lower()) for face_id in message.face_ids}
    association = await in_gallery_thread(
        request, users.associate, message.collection_id, message.user_id, faces, confidence, threshold
    )
    return answer(
        AssociatedFaces=[{"FaceId": face_id} for face_id in association.associated],
        UnsuccessfulFaceAssociations=association.unsuccessful,
        UserStatus="ACTIVE",
    )


async def _searched(
    request: Request, collection: str, image: rekognition.Image, count: int
) -> tuple[JsonObject, Vector, list[PlacedMatch], Scoring]:
    """Return the largest face of a photo, its vector [D], the subjects most like it, and the model that answers."""
    photo = await rekognition.photo_of(request, image)
    await in_gallery_thread(request, Gallery.collection, collection)
    limit_probes(request, collection)
    async for attempt in retry_on_model_change(request, collection):
        with attempt as scoring:
            options = Options(max_faces=1, template=True)
            result = await analyze_face_photo(request, photo, options, scoring.model)
            (probe,) = probes_of(result)
            (row,) = await search_vectors(request, collection, [probe.vector], count, scoring, SCALE)
            return rekognition.face_detail(result.analysis.faces[0], result), probe.vector, row, scoring
    raise ModelMismatch
