"""Photos out of a request's body: raw bytes, a multipart form, or JSON with base64 or URLs of listed hosts."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from service.config import Settings
from service.errors import (
    InvalidJson,
    InvalidMultipart,
    InvalidRequest,
    NoImage,
    TooManyImages,
    UnsupportedContentType,
    UploadTimeout,
)
from service.fetching import Fetcher

RAW = ("image/", "application/octet-stream", "application/x-www-form-urlencoded")  # the last: curl --data-binary
BINARY = {"type": "string", "format": "binary"}
WORDS = "the file in base64; a data: URL also does, and an https: URL of a host that the server lists"
BASE64 = {"type": "string", "contentEncoding": "base64", "description": WORDS}


@dataclass(frozen=True)
class Upload:
    """Compressed images in order; `several` when the answer should be a list; other fields of the body."""

    images: list[bytes] = field(repr=False)
    several: bool
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    strict: bool = False  # JSON fields have types, form fields are text


class _FormInMemory(MultiPartParser):
    """Photos never touch the disk; the whole body is limited already."""

    spool_max_size = 1 << 62

    def close(self) -> None:
        """Free what has arrived."""
        for file in self._files_to_close_on_error:
            file.close()


def request_body(fields: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of what read_upload() takes, with the JSON schema properties of the other fields."""
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
    return {"requestBody": {"required": True, "content": content}}


async def read_upload(request: Request, settings: Settings, image_needed: bool = True) -> Upload:
    """Read the body by its Content-Type. Raises a ServiceError for whatever is not as it should be."""
    kind = request.headers.get("content-type", "application/octet-stream").split(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise UnsupportedContentType("a body with a Content-Encoding is not taken")
    try:
        async with asyncio.timeout(settings.upload_timeout):
            if kind == "multipart/form-data":
                upload = await _read_form(request, settings.max_images)
            elif kind == "application/json":
                upload = await _read_json(request, settings, image_needed)
            elif kind.startswith(RAW):
                upload = Upload([await request.body()], several=False)
            else:
                raise UnsupportedContentType("send image/*, multipart/form-data or application/json")
    except TimeoutError as error:
        raise UploadTimeout from error
    if not any(upload.images) and (image_needed or upload.images):
        raise NoImage
    if len(upload.images) > settings.max_images:
        raise TooManyImages(f"a request may hold {settings.max_images} images, this one has {len(upload.images)}")
    return upload


async def _read_form(request: Request, max_images: int) -> Upload:
    parser = _FormInMemory(request.headers, request.stream(), max_files=max_images, max_fields=50)
    images, fields = [], {}
    try:
        for name, value in (await parser.parse()).multi_items():
            if isinstance(value, UploadFile):
                images.append(await value.read())
            else:
                fields[name] = value
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise TooManyImages(f"a request may hold {max_images} images") from error
        raise InvalidMultipart(error.message) from error
    except KeyError as error:
        raise InvalidMultipart("the Content-Type names no boundary") from error
    finally:
        parser.close()
    return Upload(images, len(images) > 1, fields)


async def _read_json(request: Request, settings: Settings, image_needed: bool) -> Upload:
    try:
        found = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidJson from error
    if not isinstance(found, dict):
        raise InvalidRequest("the JSON body is an object with `image` or `images`")
    one, many = found.pop("image", None), found.pop("images", None)
    if (one is not None and many is not None) or (image_needed and one is None and many is None):
        raise NoImage("give either `image` or `images`")
    texts = [one] if one is not None else many if many is not None else []
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("`image` is a base64 string, `images` a list of them")
    if len(texts) > settings.max_images:
        raise TooManyImages(f"a request may hold {settings.max_images} images, this one has {len(texts)}")
    fetcher: Fetcher = request.app.state.fetcher
    images, left = [], int(settings.max_request_bytes)
    for text in texts:
        if text.startswith(("http://", "https://")):
            images.append(await fetcher.get(text, min(left, settings.max_bytes)))
            left -= len(images[-1])
        else:
            images.append(_from_base64(text))
    return Upload(images, one is None, found, strict=True)


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest("an image is not valid base64") from error
