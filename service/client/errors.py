"""The one exception of the client."""

from __future__ import annotations


class FaceError(Exception):
    """A call that the server refused, or that could not be made.

    `status` is the HTTP status, 0 when the server was not reached; `code` is stable; `detail` is for people;
    `request_id` finds the request in the server's log.
    """

    def __init__(self, status: int, code: str, detail: str, request_id: str | None = None) -> None:
        super().__init__(f"{detail} ({code})" if status else detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.request_id = request_id
