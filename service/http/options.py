"""Options of requests with photos: from the query or the body, checked once, and their description in OpenAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from service.errors import InvalidRequest
from service.http.uploads import OpenApi, Upload, request_body

OptionsModel = TypeVar("OptionsModel", bound=BaseModel)

PROBLEMS = {
    400: "the body is not what its Content-Type says",
    408: "the body did not arrive in time",
    413: "too many bytes, pixels or images",
    415: "not an image, or a Content-Type that is not accepted",
    422: "a bad option, no image, or one that cannot be decoded",
    429: "too much work is waiting; Retry-After says when to come again",
    500: "the service failed",
    503: "no worker is ready",
    504: "the deadline passed",
}
PLACES = ("body", "query", "path", "header")
"""What FastAPI's findings begin with: where the value was."""
OBJECT_NEEDED = ("dict_type", "model_type", "model_attributes_type")
"""Pydantic's findings whose words are about Python."""
REFERENCE = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
Responses = dict[int | str, dict[str, Any]]
"""The answers of a route in its OpenAPI description, by status."""
PROBLEM_RESPONSES: Responses = {
    status: {"description": text, "content": REFERENCE} for status, text in PROBLEMS.items()
}


def describe_options(options: type[BaseModel]) -> OpenApi:
    """Return the OpenAPI description of a request with photos whose options stand in the query or in the body."""
    fields = options.model_json_schema()["properties"]
    query = [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in fields.items()]
    return request_body(fields) | {"parameters": query}


def query_options(request: Request, kind: type[OptionsModel]) -> OptionsModel:
    """Return the options in the query. Raises RequestValidationError.

    FastAPI's own injection takes 0.08 ms more of a request (docs/log.md, 'The queue's 3 ms').
    """
    values = dict(request.query_params) if request.scope["query_string"] else {}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError([item | {"loc": ("query", *item["loc"])} for item in error.errors()]) from error


def merge_options(query: OptionsModel, upload: Upload) -> OptionsModel:
    """Return the query's options, overridden by those in the body. Raises InvalidRequest."""
    if not upload.fields:
        return query
    try:
        body = type(query).model_validate(upload.fields, strict=upload.strict)
    except ValidationError as error:
        raise invalid_request(error.errors()) from error
    return query.model_copy(update=body.model_dump(exclude_unset=True))


def invalid_request(findings: Sequence[Any]) -> InvalidRequest:
    """Return Pydantic's findings as one error, without the values that were sent."""
    return InvalidRequest("; ".join(f"{_place(item['loc'])}: {_text(item)}" for item in findings))


def errors_without_input(findings: Sequence[Any]) -> list[dict[str, Any]]:
    """Return Pydantic's findings as data, without the values that were sent."""
    return [{"loc": list(item["loc"]), "type": item["type"], "msg": _text(item)} for item in findings]


def _place(location: Sequence[str | int]) -> str:
    """Return where a value stands, as callers know it: `roles.0`, or `header face-passphrase`."""
    place, rest = ("body", location) if not location or location[0] not in PLACES else (location[0], location[1:])
    name = ".".join(map(str, rest)) or str(place)
    return f"header {name}" if place == "header" else name


def _text(finding: Any) -> str:
    if finding["type"] in OBJECT_NEEDED:
        return "a JSON object is needed"
    return str(finding["msg"]).removeprefix("Value error, ")
