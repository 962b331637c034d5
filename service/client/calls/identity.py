"""Calls about collections, their subjects and media, and about who somebody is."""

from __future__ import annotations

from enum import Enum, auto

from pydantic import JsonValue

from service.client.call import Call, as_bytes, as_model, collection_path, probe_body, segment
from service.client.calls.faces import FaceChoice
from service.client.photos import Photo, Photos, Probe, file_parts
from service.schemas.collections import CollectionResponse, Collections, ReceiptResponse
from service.schemas.comparisons import VerifyResponse
from service.schemas.conflicts import CollectionConflicts
from service.schemas.enrolment import EnrolResponse, OnConflict
from service.schemas.jobs import JobStatus
from service.schemas.names import Mode
from service.schemas.probes import Template
from service.schemas.search import GroupSearchResponse, SearchResponse
from service.schemas.subjects import SubjectResponse, Subjects


class Unchanged(Enum):
    """The type of UNCHANGED, which is passed for a value that is to stay as it is."""

    UNCHANGED = auto()


UNCHANGED = Unchanged.UNCHANGED


def put_collection(
    name: str,
    *,
    mode: Mode | None = None,
    reject_below: float | None = None,
    keep_photos: bool | None = None,
    ttl: float | None = None,
) -> Call[CollectionResponse]:
    """Create a collection; an existing one with the same policy stays as it is, another policy is refused."""
    policy: dict[str, JsonValue] = {"mode": mode, "reject_below": reject_below, "keep_photos": keep_photos, "ttl": ttl}
    body: JsonValue = {option: value for option, value in policy.items() if value is not None}
    return Call("PUT", collection_path(name), as_model(CollectionResponse), json=body)


def collection(name: str) -> Call[CollectionResponse]:
    """Return one collection with its policy and the number of its subjects."""
    return Call("GET", collection_path(name), as_model(CollectionResponse))


def collections(cursor: str | None) -> Call[Collections]:
    """List all collections, in no particular order."""
    return Call("GET", "/v1/collections", as_model(Collections), {"cursor": cursor})


def delete_collection(name: str) -> Call[ReceiptResponse]:
    """Delete a collection with all its subjects, and the key that encrypts them."""
    return Call("DELETE", collection_path(name), as_model(ReceiptResponse))


def put_subject(
    collection: str,
    subject: str,
    metadata: dict[str, JsonValue] | None = None,
    ttl: float | Unchanged | None = UNCHANGED,
) -> Call[SubjectResponse]:
    """Create a subject, or set metadata and seconds to live of an existing one; a `ttl` of None removes these."""
    body: dict[str, JsonValue] = {}
    if metadata is not None:
        body["metadata"] = metadata
    if not isinstance(ttl, Unchanged):
        body["ttl"] = ttl
    return Call("PUT", collection_path(collection, subject), as_model(SubjectResponse), json=body)


def subject(collection: str, subject: str) -> Call[SubjectResponse]:
    """Return one subject with its media, without its template."""
    return Call("GET", collection_path(collection, subject), as_model(SubjectResponse))


def subjects(cursor: str | None, collection: str) -> Call[Subjects]:
    """List all subjects of a collection, in no particular order."""
    return Call("GET", f"{collection_path(collection)}/subjects", as_model(Subjects), {"cursor": cursor})


def subject_template(collection: str, subject: str) -> Call[Template]:
    """Return the template of a subject, to be compared elsewhere by the same model."""
    return Call("GET", f"{collection_path(collection, subject)}/template", as_model(Template))


def rename_subject(collection: str, subject: str, name: str) -> Call[SubjectResponse]:
    """Give a subject another name; the server refuses one that is taken."""
    path = f"{collection_path(collection, subject)}/rename"
    return Call("POST", path, as_model(SubjectResponse), json={"name": name})


def delete_subject(collection: str, subject: str) -> Call[ReceiptResponse]:
    """Delete a subject with its media and photos."""
    return Call("DELETE", collection_path(collection, subject), as_model(ReceiptResponse))


def submit_review(collection: str) -> Call[JobStatus]:
    """Look through a whole collection for conflicts, as a job: `wait_for_job` returns `conflicts` in its results."""
    return Call("POST", f"{collection_path(collection)}/conflicts", as_model(JobStatus))


def conflicts(collection: str, *, cursor: str | None = None, limit: int | None = None) -> Call[CollectionConflicts]:
    """Find subjects who match each other, and media that do not fit their subject, among `limit` subjects.

    The answer's `cursor` asks for the next part; it is None in the last.
    """
    params = {"cursor": cursor, "limit": limit}
    return Call("GET", f"{collection_path(collection)}/conflicts", as_model(CollectionConflicts), params)


def enrol(
    collection: str,
    subject: str,
    photos: Photos,
    *,
    create: bool | None = None,
    face: FaceChoice | None = None,
    medium: str | None = None,
    min_quality: float | None = None,
    on_conflict: OnConflict | None = None,
) -> Call[EnrolResponse]:
    """Add one or several photos to a subject, which `create=True` makes where there is none.

    A photo of several people is refused unless `face` says which of them.
    """
    params = {
        "create": create,
        "face": face,
        "medium": medium,
        "min_quality": min_quality,
        "on_conflict": on_conflict,
    }
    path = f"{collection_path(collection, subject)}/media"
    return Call("POST", path, as_model(EnrolResponse), params, files=file_parts(photos))


def medium_photo(collection: str, subject: str, medium: str) -> Call[bytes]:
    """Return a photo that the collection keeps, as it was sent."""
    return Call("GET", f"{_medium_path(collection, subject, medium)}/photo", as_bytes)


def delete_medium(collection: str, subject: str, medium: str) -> Call[SubjectResponse]:
    """Delete one medium of a subject with its photo, and pool the template again from the others."""
    return Call("DELETE", _medium_path(collection, subject, medium), as_model(SubjectResponse))


def verify(
    collection: str, subject: str, probe: Probe, *, face: FaceChoice | None = None, far: float | None = None
) -> Call[VerifyResponse]:
    """Compare a probe with one subject; `far` is the false accept rate of `matched`."""
    body = probe_body(probe)
    params = {"face": face, "far": far}
    path = f"{collection_path(collection, subject)}/verify"
    return Call("POST", path, as_model(VerifyResponse), params, files=body.files, json=body.json)


def search(
    collection: str,
    probe: Probe,
    *,
    limit: int | None = None,
    face: FaceChoice | None = None,
    fpir: float | None = None,
) -> Call[SearchResponse]:
    """Find the most similar subjects, best first; `fpir` is the share of strangers who may match somebody."""
    body = probe_body(probe)
    params = {"limit": limit, "face": face, "fpir": fpir}
    path = f"{collection_path(collection)}/search"
    return Call("POST", path, as_model(SearchResponse), params, files=body.files, json=body.json)


def search_all(
    collection: str,
    photo: Photo,
    *,
    limit: int | None = None,
    fpir: float | None = None,
    exclusive: bool | None = None,
) -> Call[GroupSearchResponse]:
    """Find the most similar subjects of every face of a photo; `exclusive=False` may give one subject to several."""
    params = {"face": "all", "limit": limit, "fpir": fpir, "exclusive": exclusive}
    path = f"{collection_path(collection)}/search"
    return Call("POST", path, as_model(GroupSearchResponse), params, files=file_parts(photo))


def _medium_path(collection: str, subject: str, medium: str) -> str:
    return f"{collection_path(collection, subject)}/media/{segment(medium)}"
