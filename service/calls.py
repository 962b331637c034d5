"""The API's calls as data: method, path, arguments, how the answer is read. client.py sends them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from service.admin_schemas import Keys, Merged, NewKey, Renewed
from service.identity_schemas import (
    CollectionOut,
    Collections,
    ComparisonAnswer,
    EnrolAnswer,
    ReceiptOut,
    SearchAnswer,
    SubjectOut,
    Subjects,
    Template,
    TemplateAnswer,
    VerifyAnswer,
)
from service.schemas import AnalysisAnswer

Answer = TypeVar("Answer")
Body = TypeVar("Body", bound=BaseModel)
Photo = bytes | Path
Probe = Photo | Template | Sequence[Photo]
"""A photo, several of one person, or a template."""

LONGEST_WAIT = 60.0
"""Seconds a server may ask for before its answer counts as a refusal."""
TIMEOUT = 60.0
_BUSY = (429, 503)


class FaceError(Exception):
    """The server's refusal: HTTP status (0: not reached), its stable code, words for people, request id."""

    def __init__(self, status: int, code: str, detail: str, request_id: str | None = None) -> None:
        super().__init__(f"{detail} ({code})" if status else detail)
        self.status, self.code, self.detail, self.request_id = status, code, detail, request_id


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request, and how its answer is read."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer] = field(repr=False)
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    patient: bool = False  # it may take as long as it takes

    @property
    def timeout(self) -> httpx.Timeout:
        """Seconds without a sign of life."""
        return httpx.Timeout(TIMEOUT, read=None if self.patient else TIMEOUT)

    def answer(self, response: httpx.Response) -> Answer:
        """What the server answered. Raises FaceError for its refusals and for what is no answer of this API."""
        if not response.is_success:
            raise refusal(response)
        try:
            return self.read(response)
        except ValueError as error:
            raise FaceError(response.status_code, "not_understood", "the answer is not one of this API") from error


def headers(key: str | None) -> dict[str, str]:
    """What every request carries."""
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})


def refusal(response: httpx.Response) -> FaceError:
    """A problem document as an exception."""
    try:
        found = response.json()
        words = str(found["code"]), str(found["detail"]), found.get("request_id")
    except (ValueError, KeyError, TypeError):
        words = "http_error", f"the server answered {response.status_code}", None
    return FaceError(response.status_code, *words)


def unreachable(error: httpx.TransportError) -> FaceError:
    """A connection's end as an exception."""
    return FaceError(0, "unreachable", f"the server cannot be reached: {type(error).__name__}")


def wait(response: httpx.Response, attempts_left: int) -> float | None:
    """Seconds until the call may be made again; None when it is answered, refused, or has waited enough."""
    if response.status_code not in _BUSY or attempts_left <= 0:
        return None
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds <= LONGEST_WAIT else None


# -- the calls --------------------------------------------------------------------------------------------------------


def analyze(photo: Photo, **options: Any) -> Call[AnalysisAnswer]:
    """POST /v1/faces."""
    return Call("POST", "/v1/faces", _as(AnalysisAnswer), {"files": _files([photo]), "params": options})


def compare(first: Photo | Template, second: Photo | Template, **asked: Any) -> Call[ComparisonAnswer]:
    """POST /v1/compare."""
    photos = [side for side in (first, second) if not isinstance(side, Template)]
    templates = [side for side in (first, second) if isinstance(side, Template)]
    return Call("POST", "/v1/compare", _as(ComparisonAnswer), _body(photos, templates) | {"params": asked})


def template(photos: Sequence[Photo], **asked: Any) -> Call[TemplateAnswer]:
    """POST /v1/templates."""
    return Call("POST", "/v1/templates", _as(TemplateAnswer), {"files": _files(photos), "params": asked})


def put_collection(name: str, **policy: Any) -> Call[CollectionOut]:
    """PUT a collection."""
    return Call("PUT", _path(name), _as(CollectionOut), {"json": policy})


def collections(cursor: str | None) -> Call[Collections]:
    """A part of the collections."""
    return Call("GET", "/v1/collections", _as(Collections), {"params": {"cursor": cursor} if cursor else {}})


def delete_collection(name: str) -> Call[ReceiptOut]:
    """DELETE a collection."""
    return Call("DELETE", _path(name), _as(ReceiptOut))


def put_subject(
    collection: str, subject: str, metadata: Mapping[str, Any] | None, ttl: float | None
) -> Call[SubjectOut]:
    """PUT a subject."""
    body = {"metadata": metadata, "ttl": ttl}
    return Call("PUT", _path(collection, subject), _as(SubjectOut), {"json": body})


def get_subject(collection: str, subject: str) -> Call[SubjectOut]:
    """GET a subject."""
    return Call("GET", _path(collection, subject), _as(SubjectOut))


def subjects(collection: str, cursor: str | None) -> Call[Subjects]:
    """A part of the subjects."""
    query = {"params": {"cursor": cursor} if cursor else {}}
    return Call("GET", f"{_path(collection)}/subjects", _as(Subjects), query)


def delete_subject(collection: str, subject: str) -> Call[ReceiptOut]:
    """DELETE a subject."""
    return Call("DELETE", _path(collection, subject), _as(ReceiptOut))


def enrol(collection: str, subject: str, photos: Sequence[Photo], **asked: Any) -> Call[EnrolAnswer]:
    """POST media."""
    arguments = {"files": _files(photos), "params": asked}
    return Call("POST", f"{_path(collection, subject)}/media", _as(EnrolAnswer), arguments)


def delete_medium(collection: str, subject: str, medium: str) -> Call[SubjectOut]:
    """DELETE a medium."""
    return Call("DELETE", f"{_path(collection, subject)}/media/{quote(medium, safe='')}", _as(SubjectOut))


def verify(collection: str, subject: str, probe: Probe, **asked: Any) -> Call[VerifyAnswer]:
    """POST verify."""
    arguments = _probe(probe) | {"params": asked}
    return Call("POST", f"{_path(collection, subject)}/verify", _as(VerifyAnswer), arguments)


def search(collection: str, probe: Probe, **asked: Any) -> Call[SearchAnswer]:
    """POST search."""
    return Call("POST", f"{_path(collection)}/search", _as(SearchAnswer), _probe(probe) | {"params": asked})


def export(collection: str, passphrase: str) -> Call[bytes]:
    """POST export."""
    arguments = {"json": {"passphrase": passphrase}}
    return Call("POST", f"{_path(collection)}/export", lambda response: response.content, arguments, patient=True)


def import_(collection: str, file: bytes, passphrase: str) -> Call[CollectionOut]:
    """POST import."""
    arguments = {"content": file, "headers": {"Face-Passphrase": passphrase.encode()}}
    return Call("POST", f"{_path(collection)}/import", _as(CollectionOut), arguments, patient=True)


def merge(source: str, target: str) -> Call[Merged]:
    """POST merge."""
    return Call("POST", f"{_path(target)}/merge", _as(Merged), {"json": {"source": source}}, patient=True)


def re_enrol(collection: str, drop: bool) -> Call[Renewed]:
    """POST re-enrol."""
    return Call("POST", f"{_path(collection)}/re-enrol", _as(Renewed), {"params": {"drop": drop}}, patient=True)


def create_key(label: str, roles: Sequence[str], **asked: Any) -> Call[NewKey]:
    """POST a key."""
    return Call("POST", "/v1/keys", _as(NewKey), {"json": {"label": label, "roles": list(roles), **asked}})


def keys() -> Call[Keys]:
    """GET the keys."""
    return Call("GET", "/v1/keys", _as(Keys))


def revoke_key(key: str) -> Call[None]:
    """DELETE a key."""
    return Call("DELETE", f"/v1/keys/{quote(key, safe='')}", lambda _: None)


def _as(kind: type[Body]) -> Callable[[httpx.Response], Body]:
    return lambda response: kind.model_validate_json(response.content)


def _path(collection: str, subject: str | None = None) -> str:
    if any(name in ("", ".", "..") or "/" in name for name in (collection, subject) if name is not None):
        raise FaceError(0, "invalid_name", "a name is not empty, no . or .., and holds no /")
    base = f"/v1/collections/{quote(collection, safe='')}"
    return base if subject is None else f"{base}/subjects/{quote(subject, safe='')}"


def _bytes(photo: Photo) -> bytes:
    return photo.read_bytes() if isinstance(photo, Path) else photo


def _files(photos: Sequence[Photo]) -> list[tuple[str, tuple[str, bytes]]]:
    """Under names of no meaning: file names often hold people's."""
    return [("photo", (str(number), _bytes(photo))) for number, photo in enumerate(photos)]


def _probe(probe: Probe) -> dict[str, Any]:
    if isinstance(probe, Template):
        return _body([], [probe])
    return _body([probe] if isinstance(probe, bytes | Path) else list(probe), [])


def _body(photos: Sequence[Photo], templates: Sequence[Template]) -> dict[str, Any]:
    """A form where there are photos, else JSON."""
    if not templates:
        return {"files": _files(photos)}
    if len(templates) == 2:
        return {"json": {"templates": [one.model_dump() for one in templates]}}
    if not photos:
        return {"json": {"template": templates[0].model_dump()}}
    return {"json": {"image": b64encode(_bytes(photos[0])).decode(), "template": templates[0].model_dump()}}
