"""HTTP/1.1 as it is read off a connection: by llhttp, with a problem document for what is no HTTP."""

from __future__ import annotations

import json
import uuid

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service import errors


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, which takes a third of the time of the one in Python."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 — uvicorn's words say less
        """Answer what cannot be read, and hang up."""
        request_id = uuid.uuid4().hex
        body = json.dumps(errors.InvalidHttp().problem(request_id)).encode()
        head = [
            "HTTP/1.1 400 Bad Request",
            f"content-type: {errors.MEDIA_TYPE}",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "connection: close",
        ]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()
