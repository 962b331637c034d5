"""Rekognition's users and external image ids, kept as subjects and their metadata.

A user is a subject that metadata mark as one; associating a face with it moves the face there. A face's external image
id is the name of its subject, or stands in the subject's metadata where the subject has another name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydantic import JsonValue

from service.gallery import Metadata, Subject, Vector
from service.gallery.errors import MediumNotFound, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.metadata import change_metadata
from service.gallery.renaming import delete_empty, move_medium
from service.gallery.scoring import similarity
from service.http.compat import JsonObject
from service.http.compat.errors import SubjectExists
from service.http.compat.faces import PlacedMatch
from service.http.compat.stored_faces import StoredFace, faces_of, subjects_in

USER = "rekognition_user"
EXTERNAL_IDS = "external_image_ids"
"""Metadata: external image ids by the ids of faces, where they are not the subject's name."""


@dataclass
class Association:
    """What became of faces that were to be associated with a user."""

    associated: list[str]
    unsuccessful: list[JsonObject]


def is_user(metadata: Metadata) -> bool:
    """Return whether the metadata mark their subject as a user of Rekognition."""
    return metadata.get(USER) is True


def external_id(face: StoredFace) -> str | None:
    """Return a face's external image id, None where it was stored without one."""
    ids = face.subject.metadata.get(EXTERNAL_IDS)
    stored_id = ids.get(face.id) if isinstance(ids, dict) else None
    if isinstance(stored_id, str):
        return stored_id
    has_none = face.subject.id == face.id or is_user(face.subject.metadata)
    return None if has_none else face.subject.id


def face_answer(face: StoredFace) -> JsonObject:
    """Return a face as lists and matches show it."""
    answer: JsonObject = {"FaceId": face.id}
    place = face.medium.place
    if place is not None:
        box = {"Left": place.left, "Top": place.top, "Width": place.width, "Height": place.height}
        answer |= {"BoundingBox": box, "Confidence": 100 * place.score, "ImageId": place.photo}
    name = external_id(face)
    if name is not None:
        answer["ExternalImageId"] = name
    if is_user(face.subject.metadata):
        answer["UserId"] = face.subject.id
    return answer


def with_external_id(gallery: Gallery, collection: str, face: StoredFace, name: str | None) -> JsonObject:
    """Keep the external image id of a face where its subject has another name; return the face as lists show it."""
    answer = face_answer(face)
    if name is None or answer.get("ExternalImageId") == name:
        return answer

    def named(metadata: Metadata) -> Metadata:
        stored_ids = metadata.get(EXTERNAL_IDS)
        ids: dict[str, JsonValue] = dict(stored_ids) if isinstance(stored_ids, dict) else {}
        return {**metadata, EXTERNAL_IDS: {**ids, face.id: name}}

    change_metadata(gallery, collection, face.subject.id, named)
    return answer | {"ExternalImageId": name}


def make_user(gallery: Gallery, collection: str, user: str) -> None:
    """Make a user; a subject of that name becomes one. Raises SubjectExists, CollectionNotFound."""

    def marked(metadata: Metadata) -> Metadata:
        if is_user(metadata):
            raise SubjectExists("there is a user of that name already")
        return {**metadata, USER: True}

    change_metadata(gallery, collection, user, marked, create=True)


def require_user(gallery: Gallery, collection: str, user: str) -> Subject:
    """Return the subject of a user. Raises SubjectNotFound, also for one who is no user, and CollectionNotFound."""
    subject = gallery.subject(collection, user)
    if not is_user(subject.metadata):
        raise SubjectNotFound("no such user in this collection")
    return subject


def associate(
    gallery: Gallery,
    collection: str,
    user: str,
    faces: dict[str, StoredFace | None],
    confidence: Callable[[StoredFace, Subject], float],
    threshold: float,
) -> Association:
    """Move faces, by the ids they were asked for, to a user; None stands for one that is not there.

    `confidence` says how like a user with faces another face is, 0–1: below the threshold it is not moved.
    """
    association = Association([], [])
    for identity, face in faces.items():
        subject = require_user(gallery, collection, user)
        if face is None:
            association.unsuccessful.append({"FaceId": identity, "Reasons": ["FACE_NOT_FOUND"]})
        elif face.subject.id == subject.id:
            association.associated.append(face.id)
        elif is_user(face.subject.metadata):
            reasons = ["ASSOCIATED_TO_A_DIFFERENT_USER"]
            association.unsuccessful.append({"FaceId": face.id, "UserId": face.subject.id, "Reasons": reasons})
        elif subject.media and (share := confidence(face, subject)) < threshold:
            confident = {"Confidence": round(100 * share, 3), "Reasons": ["LOW_MATCH_CONFIDENCE"]}
            association.unsuccessful.append({"FaceId": face.id, **confident})
        else:
            _move(gallery, collection, face, subject)
            association.associated.append(face.id)
    return association


def delete_face(gallery: Gallery, collection: str, face: StoredFace) -> bool:
    """Delete a face, and its subject when that has no other and is no user; return whether it was there."""
    try:
        remaining = gallery.delete_medium(collection, face.subject.id, face.medium.id)
    except (MediumNotFound, SubjectNotFound):
        return False
    _delete_empty(gallery, collection, remaining)
    return True


def matching_faces(
    gallery: Gallery,
    collection: str,
    matches: Sequence[PlacedMatch],
    threshold: float,
    vector: Vector,
    share_of: Callable[[Vector, PlacedMatch], float] | None,
    searched_id: str | None = None,
) -> list[JsonObject]:
    """Return the stored faces of the matching subjects that are like a vector [D], most similar first.

    The face of a subject that is most like it has the subject's own similarity, the others what `share_of` says of
    them; without it there is one face of each subject. Below the threshold, 0–1, everything is left out, and so is the
    face that was searched for by its id.
    """
    scored_faces: list[tuple[float, StoredFace]] = []
    for match in matches:
        faces: list[StoredFace] = []
        if match.share >= threshold:
            with suppress(SubjectNotFound):  # deleted meanwhile
                faces = faces_of(gallery.subject(collection, match.subject))
        means = {face.id: face.medium.vectors.mean(0) for face in faces}
        ranked = sorted(
            (face for face in faces if face.id != searched_id), key=lambda face: -similarity(means[face.id], vector)
        )
        scored_faces += [(match.share, face) for face in ranked[:1]]
        if share_of is not None:
            scored_faces += [(share_of(means[face.id], match), face) for face in ranked[1:]]
    reported = sorted((each for each in scored_faces if each[0] >= threshold), key=lambda each: -each[0])
    return [{"Similarity": round(100 * share, 3), "Face": face_answer(face)} for share, face in reported]


def count_faces_and_users(gallery: Gallery, collection: str) -> tuple[int, int]:
    """Return how many faces and users a collection has."""
    faces = people = 0
    for subject in subjects_in(gallery, collection):
        faces += len(subject.media)
        people += is_user(subject.metadata)
    return faces, people


def _move(gallery: Gallery, collection: str, face: StoredFace, user: Subject) -> None:
    name = external_id(face)
    target = move_medium(gallery, collection, face.subject, face.medium, user.id, face.id)
    with_external_id(gallery, collection, next(each for each in faces_of(target) if each.id == face.id), name)
    with suppress(SubjectNotFound):
        _delete_empty(gallery, collection, gallery.subject(collection, face.subject.id))


def _delete_empty(gallery: Gallery, collection: str, subject: Subject) -> None:
    if not subject.media and not is_user(subject.metadata):
        with suppress(SubjectNotFound):
            delete_empty(gallery, collection, subject.id)
