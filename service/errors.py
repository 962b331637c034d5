"""One class for each way a request can fail: its HTTP status, its stable code, its words (RFC 9457)."""

from __future__ import annotations

from typing import Any

MEDIA_TYPE = "application/problem+json"


class ServiceError(Exception):
    """A failure with an answer for the caller. The text never holds image data, names or other input.

    `status`, `code` and `title` belong to the class; `detail` says what happened this time.
    """

    status = 500
    code = "internal_error"
    title = "The service failed"

    def __init__(self, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.headers = headers or {}

    def problem(self, request_id: str | None = None) -> dict[str, Any]:
        """The problem document; with `request_id` when it is a whole answer."""
        found = {"type": "about:blank", "title": self.title, "status": self.status}
        found |= {"code": self.code, "detail": self.detail}
        return found | ({"request_id": request_id} if request_id else {})


def restored(code: str, detail: str) -> ServiceError:
    """The error a worker named by its code, made again on the API's side of the queue."""
    return CODES.get(code, ServiceError)(detail)


class InvalidRequest(ServiceError):
    """An option or field has a bad value."""

    status, code, title = 422, "invalid_request", "The request is not valid"


class InvalidHttp(ServiceError):
    """What came over the connection is not HTTP/1.1, or its method is none."""

    status, code, title = 400, "invalid_http", "The request is not valid HTTP"


class InvalidJson(ServiceError):
    """The body says it is JSON and is not."""

    status, code, title = 400, "invalid_json", "The body is not valid JSON"


class InvalidMultipart(ServiceError):
    """The body says it is a form and is not."""

    status, code, title = 400, "invalid_multipart", "The body is not a valid multipart form"


class NoImage(ServiceError):
    """Nothing to look at."""

    status, code, title = 422, "no_image", "The request holds no image"


class TooManyImages(ServiceError):
    """More images than one request may hold."""

    status, code, title = 413, "too_many_images", "Too many images in one request"


class BodyTooLarge(ServiceError):
    """The body or one image in it has too many bytes."""

    status, code, title = 413, "body_too_large", "Too many bytes"


class ImageTooLarge(ServiceError):
    """The image's header announces too many pixels."""

    status, code, title = 413, "image_too_large", "The image has too many pixels"


class NotAnImage(ServiceError):
    """The bytes are no image of a known format."""

    status, code, title = 415, "not_an_image", "Not an image of a known format"


class UnsupportedContentType(ServiceError):
    """The request's Content-Type is none of those taken."""

    status, code, title = 415, "unsupported_content_type", "This Content-Type is not taken"


class ImageBroken(ServiceError):
    """The format is known, the image cannot be decoded."""

    status, code, title = 422, "image_broken", "The image cannot be decoded"


class NotFetched(ServiceError):
    """The image's URL gave none: no such host, another status than 200, too slow."""

    status, code, title = 422, "not_fetched", "The image's URL could not be fetched"


class UploadTimeout(ServiceError):
    """The body did not arrive in time."""

    status, code, title = 408, "upload_timeout", "The body did not arrive in time"


class QueueFull(ServiceError):
    """Too much work is waiting."""

    status, code, title = 429, "queue_full", "Too much work is waiting, try again later"

    def __init__(self, detail: str = "", retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class NotReady(ServiceError):
    """No worker is there to do it."""

    status, code, title = 503, "not_ready", "No worker is ready"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})


class DeadlineExceeded(ServiceError):
    """The answer was not ready in time."""

    status, code, title = 504, "deadline_exceeded", "The deadline passed before the answer was ready"


class AnalysisFailed(ServiceError):
    """The model failed on this very image, alone."""

    status, code, title = 500, "analysis_failed", "The image could not be analysed"


class WorkerLost(ServiceError):
    """Workers died on this image, so often that it was put aside."""

    status, code, title = 500, "worker_lost", "Workers were lost while they worked on the image"


class QueueLocked(ServiceError):
    """A worker was given what it has no key for."""

    status, code, title = 500, "queue_locked", "The worker has not the key that opens the queue"


class NotFound(ServiceError):
    """No such path or thing."""

    status, code, title = 404, "not_found", "Not found"


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"


CODES: dict[str, type[ServiceError]] = {kind.code: kind for kind in ServiceError.__subclasses__()}
