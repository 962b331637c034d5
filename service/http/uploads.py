"""Photos out of a request's body: raw bytes, a multipart form, or JSON with base64 or URLs of listed hosts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from fastapi import Request
from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import (
    BodyTooLarge,
    InvalidJson,
    InvalidRequest,
    NoImage,
    ServiceError,
    TooManyImages,
    UnsupportedContentType,
)
from service.http.bodies import SMALL
from service.http.forms import read_form
from service.jobs.archive import photo_from_base64
from service.outbound.fetch import Fetcher

RAW = (
    "image/",
    "video/",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
)  # the last: curl --data-binary
SCHEME = 64
"""Characters of a text among which a URL begins, whitespace before it included: base64 is not copied to look at it."""
BINARY = {"type": "string", "format": "binary"}
BASE64_TEXT = "the file in base64; a data: URL also does, and an https: URL of a host that the server lists"
BASE64 = {"type": "string", "contentEncoding": "base64", "description": BASE64_TEXT}

OpenApi = dict[str, Any]
"""A part of an OpenAPI document."""


@dataclass(frozen=True)
class Upload:
    """What a body holds: compressed images in order, and its other fields.

    `is_list` tells that the answer should be a list. `strict` tells that fields have types, as in JSON; those of a
    form are text.
    """

    images: list[bytes] = field(repr=False)
    is_list: bool
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    strict: bool = False


class UnreadablePhoto(bytes):
    """A placeholder for one photo of several that could not be read: empty bytes, with the `error`."""

    error: ServiceError

    @classmethod
    def because(cls, error: ServiceError) -> Self:
        """Return a placeholder for a photo that could not be read for this reason."""
        photo = cls()
        photo.error = error
        return photo


class _Images(msgspec.Struct):
    """The images of a JSON body, and its templates, as they stand there; what else it holds is skipped unread."""

    image: msgspec.Raw = msgspec.Raw()
    images: msgspec.Raw = msgspec.Raw()
    templates: msgspec.Raw = msgspec.Raw()


def request_body(fields: OpenApi, video: bool = False) -> OpenApi:
    """Return the OpenAPI description of what read_upload() takes, given the JSON schemas of the other fields."""
    form = {"file": {"type": "array", "items": BINARY, "description": "one or many files, under any field name"}}
    one_or_many = {"image": BASE64, "images": {"type": "array", "items": BASE64, "minItems": 1}}
    json_body = {
        "type": "object",
        "properties": one_or_many | fields,
        "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
        "additionalProperties": False,
    }
    content = {
        "image/*": {"schema": BINARY},
        "application/octet-stream": {"schema": BINARY},
        "multipart/form-data": {"schema": {"type": "object", "properties": form | fields}},
        "application/json": {"schema": json_body},
    }
    if video:
        content["video/*"] = {"schema": BINARY}
    return {"requestBody": {"required": True, "content": content}}


async def read_upload(
    request: Request, settings: Settings, image_needed: bool = True, many_templates: bool = False
) -> Upload:
    """Return the photos and the other fields of a body, by its Content-Type. Raises a ServiceError for a bad one.

    With `many_templates` the JSON field `templates` may be as large as the body, and stays undecoded (msgspec.Raw).
    """
    content_type = request.headers.get("content-type", "application/octet-stream")
    kind = content_type.split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedContentType("a body with a Content-Encoding is not accepted")
    if kind == "multipart/form-data":
        form = await read_form(content_type, request.stream(), settings.max_images)
        upload = Upload(form.files, len(form.files) > 1, dict(form.fields))
    elif kind == "application/json":
        upload = await _read_json(request, settings, image_needed, many_templates)
    elif kind.startswith(RAW):
        upload = Upload([await request.body()], is_list=False)
    else:
        raise UnsupportedContentType("send image/*, multipart/form-data or application/json")
    if (image_needed or upload.images) and not any(map(_is_something, upload.images)):
        raise NoImage("the image is empty" if upload.images else "")
    return upload


async def _read_json(request: Request, settings: Settings, image_needed: bool, many_templates: bool) -> Upload:
    body = await request.body()
    texts, is_list, fields = await run_in_threadpool(_parse_json, body, settings.max_images, many_templates)
    if image_needed and not texts and not is_list:
        raise NoImage("send either `image` or `images`")
    images: list[bytes] = []
    bytes_left = int(settings.max_request_bytes)
    for text in texts:
        try:
            images.append(await _photo(request, text, min(bytes_left, int(settings.max_bytes))))
        except ServiceError as error:
            if not is_list or error.status >= 500:
                raise
            images.append(UnreadablePhoto.because(error))
        bytes_left -= len(images[-1])
    return Upload(images, is_list, fields, strict=True)


async def _photo(request: Request, text: str, max_bytes: int) -> bytes:
    """Return the photo of a base64 text or of a URL. Raises InvalidRequest, NotFetched, BodyTooLarge."""
    if text[:SCHEME].strip().lower().startswith(("http://", "https://")):
        fetcher: Fetcher = request.app.state.fetcher
        return await fetcher.get(text.strip(), max_bytes, request.state.body.hold)
    return await run_in_threadpool(_from_base64, text)


def _is_something(photo: bytes) -> bool:
    return bool(photo) or isinstance(photo, UnreadablePhoto)


def _parse_json(body: bytes, max_images: int, many_templates: bool) -> tuple[list[str], bool, dict[str, Any]]:
    """Return the texts of the images, whether they are a list, and the other fields.

    Whatever the body holds, memory stays within some times its size: images are cut out as they stand, and the rest is
    made into objects only when it is small. json.loads took 27 times the size of a hostile body (docs/log.md,
    'One table decides').
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    try:
        if not body.lstrip().startswith(b"{"):
            msgspec.json.decode(body, type=msgspec.Raw)  # is it JSON at all?
        parts = msgspec.json.decode(body, type=_Images)
        image = bytes(parts.image)
        images = bytes(parts.images)
        templates = bytes(parts.templates) if many_templates else b""
        if len(body) - len(image) - len(images) - len(templates) > SMALL:
            raise BodyTooLarge(f"a JSON body may have {SMALL:,} bytes beside its images")
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        other_fields = {
            name: raw if many_templates and name == "templates" else _decoded(name, raw)
            for name, raw in fields.items()
            if name not in ("image", "images")
        }
    except msgspec.ValidationError as error:
        raise InvalidRequest("the JSON body is an object with `image` or `images`") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error
    if image not in (b"", b"null") and images not in (b"", b"null"):
        raise NoImage("send either `image` or `images`")
    texts, is_list = _texts(image, images)
    if len(texts) > max_images:
        raise TooManyImages(f"a request may hold {max_images} images, this one has {len(texts)}")
    return texts, is_list, other_fields


def _decoded(name: str, raw: msgspec.Raw) -> object:
    """Return the value of a field. Raises InvalidRequest for a number that no float holds."""
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name}: a number is too large") from error


def _texts(image: bytes, images: bytes) -> tuple[list[str], bool]:
    """Return the strings of `image` or `images`. Raises InvalidRequest for other types."""
    try:
        if images not in (b"", b"null"):
            return msgspec.json.decode(images, type=list[str]), True
        return ([msgspec.json.decode(image, type=str)] if image not in (b"", b"null") else []), False
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest("`image` is a base64 string, `images` a list of them") from error


def _from_base64(text: str) -> bytes:
    try:
        return photo_from_base64(text)
    except ValueError as error:
        raise InvalidRequest("an image is not valid base64") from error
