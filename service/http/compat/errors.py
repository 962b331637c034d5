"""Our errors as callers of other products' APIs expect them: their statuses, codes and bodies."""

from __future__ import annotations

from fastapi.responses import JSONResponse, Response
from starlette.datastructures import Headers
from starlette.types import Scope

from service.errors import ServiceError
from service.http.compat.endpoints import STATIC_IMAGE

AMAZON_JSON = "application/x-amz-json-1.1"


class NotOneCollection(ServiceError):
    """The key does not say which collection a CompreFace call is about."""

    status = 400
    code = "not_one_collection"
    title = "This call needs a key of exactly one collection"


class SubjectExists(ServiceError):
    """A subject that was to be made is there already."""

    status = 400
    code = "subject_exists"
    title = "There is a subject of that name already"


class MissingParameter(ServiceError):
    """A parameter or a part of a form without which a call means nothing."""

    status = 400
    code = "missing_parameter"
    title = "A parameter is missing"


class InvalidS3Object(ServiceError):
    """A photo in a bucket that this service may not read."""

    status = 400
    code = "invalid_s3_object"
    title = "Photos in buckets are not read"


class SignatureMismatch(ServiceError):
    """The signature of a request does not fit what it signs."""

    status = 403
    code = "signature_mismatch"
    title = "The request's signature does not fit the key"


class InvalidPaginationToken(ServiceError):
    """A list is to go on where no answer said that it would."""

    status = 400
    code = "invalid_pagination_token"
    title = "The token is not one that a list returned"


COMPREFACE_CODES: dict[str, tuple[int, int]] = {
    "unauthorized": (404, 10),
    "forbidden": (403, 1),
    "not_one_collection": (400, 13),
    "collection_not_found": (404, 42),
    "subject_not_found": (404, 42),
    "subject_exists": (400, 43),
    "medium_not_found": (404, 44),
    "not_an_image": (400, 21),
    "image_broken": (400, 21),
    "unsupported_content_type": (400, 21),
    "invalid_request": (400, 26),
    "invalid_name": (400, 26),
    "no_face": (400, 28),
    "several_faces": (400, 31),
    "missing_parameter": (400, 33),
    "no_image": (400, 34),
    "invalid_json": (400, 0),
    "invalid_multipart": (400, 0),
    "invalid_subject": (400, 36),
    "low_quality": (400, 36),
    "not_found": (404, 0),
    "method_not_allowed": (404, 0),
}
"""Status and code by our code. Others keep our status, with the code 0, or 41 where the service failed."""
COMPREFACE_MESSAGES = {
    "no_face": "No face is found in the given image",
    "several_faces": "Found more than one face in the given image",
    "unauthorized": "Service not found by the API key",
}
"""What clients may look for in a message."""

REKOGNITION_TYPES: dict[str, tuple[int, str]] = {
    "unauthorized": (400, "UnrecognizedClientException"),
    "forbidden": (400, "AccessDeniedException"),
    "signature_mismatch": (400, "InvalidSignatureException"),
    "not_found": (400, "UnknownOperationException"),
    "rate_limited": (400, "ThrottlingException"),
    "queue_full": (400, "ThrottlingException"),
    "too_many_bytes": (400, "ThrottlingException"),
    "collection_not_found": (400, "ResourceNotFoundException"),
    "subject_not_found": (400, "ResourceNotFoundException"),
    "collection_exists": (400, "ResourceAlreadyExistsException"),
    "subject_exists": (400, "ConflictException"),
    "subject_too_large": (400, "ServiceQuotaExceededException"),
    "not_an_image": (400, "InvalidImageFormatException"),
    "image_broken": (400, "InvalidImageFormatException"),
    "image_too_large": (400, "ImageTooLargeException"),
    "body_too_large": (400, "ImageTooLargeException"),
    "not_fetched": (400, "InvalidS3ObjectException"),
    "invalid_s3_object": (400, "InvalidS3ObjectException"),
    "invalid_pagination_token": (400, "InvalidPaginationTokenException"),
}
"""Status and type by our code. Other errors of a caller are InvalidParameterException, ours InternalServerError."""


def compat_response(api: str, scope: Scope, error: ServiceError) -> Response:
    """Return an error as a response of the API that FACE_COMPAT names so."""
    if api == "compreface":
        return _compreface(scope, error)
    status, kind = REKOGNITION_TYPES.get(
        error.code,
        (400, "InvalidParameterException") if error.status < 500 else (error.status, "InternalServerError"),
    )
    body = {"__type": kind, "message": error.detail}
    return JSONResponse(body, status, {**error.headers, "x-amzn-ErrorType": kind}, AMAZON_JSON)


def _compreface(scope: Scope, error: ServiceError) -> Response:
    in_header = scope.get("route_path") != STATIC_IMAGE
    if error.code == "unauthorized" and in_header and "x-api-key" not in Headers(scope=scope):
        return JSONResponse({"message": "Missing header: x-api-key", "code": 20}, 400)
    status, code = COMPREFACE_CODES.get(error.code, (error.status, 0 if error.status < 500 else 41))
    message = COMPREFACE_MESSAGES.get(error.code, error.detail)
    headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    return JSONResponse({"message": message, "code": code}, status, headers)
