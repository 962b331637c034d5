"""One class for each way a request can fail: its HTTP status, its stable code and its text (RFC 9457)."""

from __future__ import annotations

from typing import Any, ClassVar

MEDIA_TYPE = "application/problem+json"


class ServiceError(Exception):
    """A failure with an answer for the caller. The text never holds image data, names or other input.

    `status`, `code` and `title` belong to the class; `detail` says what happened this time. `members` are further
    members of the problem document.
    """

    status = 500
    code = "internal_error"
    title = "The service failed"
    codes: ClassVar[dict[str, type[ServiceError]]] = {}
    """Every class of errors by its code: an error that another process sent is restored from it."""

    def __init_subclass__(cls) -> None:
        ServiceError.codes[cls.code] = cls

    def __init__(self, detail: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.headers = headers or {}
        self.members: dict[str, Any] = {}

    def problem(self, request_id: str | None = None) -> dict[str, Any]:
        """Return the problem document, with `request_id` when it is a whole answer."""
        return {
            "type": "about:blank",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            **self.members,
            **({"request_id": request_id} if request_id else {}),
        }


def restored(code: str, detail: str) -> ServiceError:
    """Return the error that another process named by its code."""
    return ServiceError.codes.get(code, ServiceError)(detail)


class InvalidRequest(ServiceError):
    """An option or field has a bad value."""

    status = 422
    code = "invalid_request"
    title = "The request is not valid"


class InvalidHttp(ServiceError):
    """What came over the connection is not a valid HTTP/1.1 request."""

    status = 400
    code = "invalid_http"
    title = "The request is not valid HTTP"


class InvalidJson(ServiceError):
    """The Content-Type says JSON, the body is not JSON."""

    status = 400
    code = "invalid_json"
    title = "The body is not valid JSON"


class InvalidMultipart(ServiceError):
    """The Content-Type says multipart form, the body is not a whole form."""

    status = 400
    code = "invalid_multipart"
    title = "The body is not a valid multipart form"


class NoImage(ServiceError):
    """The request holds no image to analyze."""

    status = 422
    code = "no_image"
    title = "The request holds no image"


class TooManyImages(ServiceError):
    """The request holds more images than one request may."""

    status = 413
    code = "too_many_images"
    title = "Too many images in one request"


class BodyTooLarge(ServiceError):
    """The body or one image in it has too many bytes."""

    status = 413
    code = "body_too_large"
    title = "Too many bytes"


class ImageTooLarge(ServiceError):
    """The image's header announces too many pixels."""

    status = 413
    code = "image_too_large"
    title = "The image has too many pixels"


class VideoTooLong(ServiceError):
    """The video plays for too long, or has too many frames."""

    status = 413
    code = "video_too_long"
    title = "The video is too long"


class VideoNeedsJob(ServiceError):
    """The video takes longer than one request may: a worker says so, and a job is made of it."""

    status = 413
    code = "video_needs_job"
    title = "The video takes longer than one request may"


class NotAnImage(ServiceError):
    """The bytes are not an image of a supported format."""

    status = 415
    code = "not_an_image"
    title = "Not an image of a known format"


class UnsupportedContentType(ServiceError):
    """The Content-Type is not one that the endpoint accepts."""

    status = 415
    code = "unsupported_content_type"
    title = "This Content-Type is not accepted"


class ImageBroken(ServiceError):
    """The format is known, the image cannot be decoded."""

    status = 422
    code = "image_broken"
    title = "The image cannot be decoded"


class NotFetched(ServiceError):
    """The image's URL could not be fetched: no such host, another status than 200, too slow."""

    status = 422
    code = "not_fetched"
    title = "The image's URL could not be fetched"


class UploadTimeout(ServiceError):
    """The body did not arrive in time."""

    status = 408
    code = "upload_timeout"
    title = "The body did not arrive in time"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Connection": "close"})  # the rest of the body may still come, and is no request


class QueueFull(ServiceError):
    """The queue, or the store of jobs, has no room for the request."""

    status = 429
    code = "queue_full"
    title = "Too much work is waiting, try again later"

    def __init__(self, detail: str = "", retry_after: int = 1) -> None:
        super().__init__(detail, {"Retry-After": str(retry_after)})


class NotReady(ServiceError):
    """No worker is alive that could analyze the image."""

    status = 503
    code = "not_ready"
    title = "No worker is ready"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, {"Retry-After": "2"})


class DeadlineExceeded(ServiceError):
    """The answer was not ready in time."""

    status = 504
    code = "deadline_exceeded"
    title = "The deadline passed before the answer was ready"


class AnalysisFailed(ServiceError):
    """The model failed on this image when it was analyzed alone."""

    status = 500
    code = "analysis_failed"
    title = "The image could not be analyzed"


class WorkerLost(ServiceError):
    """Workers were lost on this image so often that it became a dead letter."""

    status = 500
    code = "worker_lost"
    title = "Workers were lost while they worked on the image"


class QueueLocked(ServiceError):
    """A worker received an encrypted image that none of its keys opens."""

    status = 500
    code = "queue_locked"
    title = "The worker does not have the key that opens the queue"


class NotFound(ServiceError):
    """There is no such path or resource."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"
