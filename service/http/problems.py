"""Errors as problem documents (RFC 9457), and the application's handlers of exceptions."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from service import errors
from service.http.compat.errors import compat_response
from service.http.options import OBJECT_NEEDED, errors_without_input, invalid_request


def problem(scope: Scope, error: errors.ServiceError, **extra: Any) -> Response:
    """Return an error as a response: a problem document, or what callers of another product's API expect."""
    compat: str | None = scope.get("compat")
    if compat is not None:
        return compat_response(compat, scope, error)
    document = error.problem(scope.get("request_id")) | extra
    return JSONResponse(document, error.status, error.headers, errors.MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Let every error that a route raises be answered with a problem document."""
    app.add_exception_handler(errors.ServiceError, _on_service_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)


async def _on_service_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.ServiceError)
    request.app.state.metrics.rejected.labels(error.code).inc()
    return problem(request.scope, error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, errors.ServiceError):  # FastAPI's answer to an error while it read the body
        return await _on_service_error(request, error.__cause__)
    if error.status_code == 400:  # FastAPI's answer to a body whose bytes are no text, or nested without end
        return await _on_service_error(request, errors.InvalidJson())
    if error.status_code == 404:
        return problem(request.scope, errors.NotFound())
    if error.status_code == 405:
        return problem(request.scope, errors.MethodNotAllowed(headers=dict(error.headers or {})))
    translated = errors.InvalidRequest(str(error.detail), dict(error.headers or {}))
    translated.status = error.status_code
    return problem(request.scope, translated)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    findings = error.errors()
    for item in findings:
        if item["type"] == "json_invalid":
            reason = item.get("ctx", {}).get("error", "it ends too early")
            return await _on_service_error(request, errors.InvalidJson(f"at character {item['loc'][-1]}: {reason}"))
        if item["loc"] == ("body",) and item["type"] in OBJECT_NEEDED and not _says_json(request):
            return await _on_service_error(request, errors.UnsupportedContentType("send it as application/json"))
    return problem(request.scope, invalid_request(findings), errors=errors_without_input(findings))


def _says_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
