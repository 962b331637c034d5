"""A call of the API as data: what is sent, and how the answer is read. client.py sends it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, JsonValue

from service.client.errors import FaceError
from service.client.photos import FileParts, Photo, Probe, file_parts, read_photo
from service.schemas.probes import Template

Answer = TypeVar("Answer")
Model = TypeVar("Model", bound=BaseModel)
Option = str | int | float | bool | None
"""A value in the query; None leaves it out, and the server's own default holds."""

LONGEST_WAIT = 60.0
"""Longest Retry-After, in seconds, that is waited for; beyond it the answer is an error."""
BUSY = (429, 503)


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One API call: the HTTP request to send, and `read`, which turns its response into the answer."""

    method: str
    path: str
    read: Callable[[httpx.Response], Answer] = field(repr=False)
    params: Mapping[str, Option] = field(default_factory=dict, repr=False)
    json: JsonValue = field(default=None, repr=False)
    files: FileParts | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str | bytes] = field(default_factory=dict, repr=False)
    unlimited: bool = False  # no read timeout: the server may take any time

    def request(
        self, client: httpx.Client | httpx.AsyncClient, url: str, key: str | None, seconds: float
    ) -> httpx.Request:
        """Build the request to the server at `url`; `seconds` is its timeout, of each read and write."""
        standard_headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        return client.build_request(
            self.method,
            url.rstrip("/") + self.path,
            params={name: value for name, value in self.params.items() if value is not None} or None,
            json=self.json,
            files=self.files,
            content=self.content,
            headers={**standard_headers, **self.headers},  # type: ignore[arg-type]  # httpx takes bytes, untyped
            timeout=httpx.Timeout(seconds, read=None if self.unlimited else seconds),
        )

    def answer(self, response: httpx.Response) -> Answer:
        """Return the answer in a response. Raises FaceError for an error, and for what this API never answers."""
        if not response.is_success:
            raise refusal(response)
        try:
            return self.read(response)
        except ValueError as error:
            detail = f"the answer of {response.url.netloc.decode()} is not one of this API: does the URL lead to it?"
            raise FaceError(response.status_code, "not_understood", detail) from error


def refusal(response: httpx.Response) -> FaceError:
    """Return the FaceError that an error response (a problem document) describes."""
    try:
        problem = response.json()
        return FaceError(response.status_code, problem["code"], problem["detail"], problem.get("request_id"))
    except (ValueError, KeyError, TypeError):
        return FaceError(response.status_code, "http_error", f"the server answered {response.status_code}")


NOT_SENT = (httpx.TransportError, httpx.InvalidURL, UnicodeError)
"""What httpx raises in place of a response."""


def not_answered(url: str, error: Exception) -> FaceError:
    """Return the FaceError for a request without a response; it names the server, and nothing of the request."""
    if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
        return FaceError(0, "invalid_url", f"{url!r} is not the URL of a server, like http://127.0.0.1:8000")
    if isinstance(error, UnicodeError | httpx.LocalProtocolError):
        what = "the URL, the API key, an Idempotency-Key or a text"
        return FaceError(0, "not_sent", f"{what} has characters that cannot be sent, like a line's end in a key")
    if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
        return FaceError(0, "timeout", f"the server at {url} did not answer in time")
    return FaceError(0, "unreachable", f"the server at {url} cannot be reached ({type(error).__name__})")


def seconds_until_retry(response: httpx.Response, attempts_left: int) -> float | None:
    """Return the seconds to wait before a retry, as a busy server says; None when there is nothing to retry."""
    if response.status_code not in BUSY or attempts_left <= 0:
        return None
    try:
        seconds = float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None
    return seconds if 0 <= seconds <= LONGEST_WAIT else None


# -- parts of calls ---------------------------------------------------------------------------------------------------


def as_model(kind: type[Model]) -> Callable[[httpx.Response], Model]:
    """Return a function that reads a JSON response as the model `kind`; it raises ValueError for other content."""
    return lambda response: kind.model_validate_json(response.content)


def as_bytes(response: httpx.Response) -> bytes:
    """Return the body of a response, unchanged."""
    return response.content


def as_nothing(_: httpx.Response) -> None:
    """Ignore the response of a call without an answer."""


def collection_path(collection: str, subject: str | None = None) -> str:
    """Return the path of a collection or of one of its subjects. Raises FaceError for a name that cannot be one."""
    base = f"/v1/collections/{segment(collection)}"
    return base if subject is None else f"{base}/subjects/{segment(subject)}"


def segment(name: str) -> str:
    """Return a name or an id as one part of a path, which leads nowhere else. Raises FaceError for what cannot be one.

    An HTTP client resolves `.` and `..` before it sends a request: `…/media/..` would be the subject itself.
    """
    try:
        quoted = quote(name, safe="")
    except UnicodeEncodeError as error:
        raise FaceError(0, "invalid_name", "a name has half a character in it (a lone surrogate)") from error
    if name in ("", ".", "..") or "/" in name:
        raise FaceError(0, "invalid_name", "a name is not empty, not '.' or '..', and has no '/' in it")
    return quoted


@dataclass(frozen=True)
class Body:
    """Photos and templates as the body of a request: a form where there are only photos, else JSON."""

    files: FileParts | None = None
    json: JsonValue = None


def probe_body(probe: Probe) -> Body:
    """Return the request body for one probe: a template as JSON, photos as a form."""
    if isinstance(probe, Template):
        return Body(json={"template": probe.model_dump()})
    return Body(files=file_parts(probe))


def pair_body(first: Photo | Template, second: Photo | Template) -> Body:
    """Return the request body for two faces to compare, each a photo or a template."""
    sides = (first, second)
    templates: Sequence[JsonValue] = [side.model_dump() for side in sides if isinstance(side, Template)]
    photos = [side for side in sides if not isinstance(side, Template)]
    if not templates:
        return Body(files=file_parts(photos))
    if not photos:
        return Body(json={"templates": list(templates)})
    return Body(json={"image": b64encode(read_photo(photos[0])).decode(), "template": templates[0]})
