"""HTTP/1.1 as it is read off a connection: by llhttp, bounded before a request is known, with problem documents.

    connection → head (64 KiB, 100 headers, FACE_HEAD_TIMEOUT) → application → answer → drop the rest of the body → next

What uvicorn's own protocol lacks is added here: a limit on connections, on the bytes and the time of a head, on
trailers and on pipelined requests, and an end to bodies that nobody will read.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from typing import Any

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserInvalidURLError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service import errors
from service.config import Settings

HEAD_BYTES = 64 << 10
HEADERS = 100
PIPELINED = 16
"""Requests that may wait on a connection while one is answered."""
DRAINED_BYTES = 256 << 20
DRAIN_SECONDS = 10
"""How much of a body, and for how long, is read and dropped after its request was refused, so that its sender, who may
read the answer only when all is sent, sees it."""

REASONED = (HttpParserError, HttpParserInvalidMethodError)
"""Errors of the parser itself; what was raised while it called us back has words of its own."""
UNREAD_SECONDS = 60
"""How long an answer may wait for its reader to take anything of it."""


class HeadTooLarge(errors.ServiceError):
    """The request line and the headers have too many bytes, or there are too many headers."""

    status = 431
    code = "head_too_large"
    title = "The head of the request is too large"


class HeadTimeout(errors.ServiceError):
    """The head of the request did not arrive in time."""

    status = 408
    code = "head_timeout"
    title = "The head of the request did not arrive in time"


class TooManyConnections(errors.ServiceError):
    """The process serves as many connections as it may."""

    status = 503
    code = "too_many_connections"
    title = "Too many connections, try again later"


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, which takes a third of the time of the one in Python, with limits."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        settings: Settings = config.app.state.settings  # type: ignore[union-attr]
        self._max_connections = settings.max_connections
        self._head_timeout = settings.head_timeout
        self._deadline: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._in_message = False
        self._without_body = 0  # bytes read since the last byte of a body: a head, trailers or extensions of chunks
        self._dropped = 0
        self._refusal: errors.ServiceError | None = None
        self._refused_next: errors.ServiceError | None = None
        self._under_way: RequestResponseCycle | None = None

    # -- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, or refuse it when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self._refuse(TooManyConnections(headers={"Retry-After": "1"}))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers of a connection that is gone, and tell the request under way, which may not be the latest."""
        self._stop_timer()
        self._stop_unread_timer()
        if self._under_way is not None:
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Wait for a reader that does not keep up, but not for ever: it holds memory and a connection."""
        super().pause_writing()
        self._stop_unread_timer()
        self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer that pause_writing() started: the client took some of the answer."""
        self._stop_unread_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived; refuse a head that is too large or comes too slowly."""
        if self.transport.is_closing() or self._refused_next is not None:
            return
        self._without_body += len(data)
        if self._in_head and not self._in_message:  # the first bytes of another request on this connection
            self._await_head()
        super().data_received(data)
        if self._without_body > HEAD_BYTES and self._in_message and not self.transport.is_closing():
            self._refuse(HeadTooLarge(f"a head and trailers may have {HEAD_BYTES:,} bytes"))

    # -- one message ------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Reset the counters of a request: another one begins."""
        super().on_message_begin()
        self._in_head = self._in_message = True
        self._dropped = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's URL; refuse one that is too long."""
        super().on_url(url)
        if len(self.url) > HEAD_BYTES:
            self._stop_parsing(HeadTooLarge(f"a head may have {HEAD_BYTES:,} bytes"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header, or a trailer, which nothing reads."""
        if not self._in_head:
            return
        super().on_header(name, value)
        if len(self.headers) > HEADERS:
            self._stop_parsing(HeadTooLarge(f"a request may have {HEADERS} headers"))

    def on_headers_complete(self) -> None:
        """Check the whole head, and hand the request to the application."""
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > HEAD_BYTES:
            self._stop_parsing(HeadTooLarge(f"a head may have {HEAD_BYTES:,} bytes"))
        if len(self.pipeline) >= PIPELINED:
            self.transport.close()
            raise HttpParserError("too many pipelined requests")
        self._in_head = False
        self._without_body = 0
        self._stop_timer()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Hand a request to the application; those that were pipelined behind it wait."""
        self._under_way = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body; after the answer it is dropped."""
        self._without_body = 0
        if self.cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > DRAINED_BYTES:
                self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the whole request was read, and wait for the next one."""
        self._in_message = False
        self._in_head = True
        self._without_body = 0
        super().on_message_complete()
        if self.cycle.response_complete:  # the answer was given before the body was read: only now is it over
            self._stop_timer()
            self._wait_for_next()

    def on_response_complete(self) -> None:
        """Go on with the next request, or give the sender of an unread body some time to see the answer."""
        super().on_response_complete()
        if self._refused_next is not None:
            if not self._is_under_way and not self.transport.is_closing():
                self._write_refusal(self._refused_next)
        elif self._in_message and not self.pipeline and not self.transport.is_closing():
            if self.expect_100_continue:  # the sender asked first and was refused: what comes next is no body
                self.transport.close()
                return
            self._unset_keepalive_if_required()
            self._set_timer(DRAIN_SECONDS, self.transport.close)

    # -- refusals ---------------------------------------------------------------------------------------------------

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's text says less
        """Answer a request that cannot be parsed with a problem document, and close the connection."""
        if not self.transport.is_closing():
            self._refuse(self._refusal or errors.InvalidHttp(_reason(sys.exc_info()[1])))

    def _stop_parsing(self, error: errors.ServiceError) -> None:
        """Leave the parser by an exception, after which uvicorn calls send_400_response()."""
        self._refusal = error
        raise error

    def _refuse(self, error: errors.ServiceError) -> None:
        """Answer a request that cannot be served, after those before it, and close the connection."""
        if self._is_under_way and (self._in_head or self.pipeline):
            self._refused_next = error
            if not self._in_head:
                self.pipeline.popleft()  # the request whose body is at fault
        else:
            self._write_refusal(error)

    @property
    def _is_under_way(self) -> bool:
        return self._under_way is not None and not self._under_way.response_complete

    def _write_refusal(self, error: errors.ServiceError) -> None:
        request_id = uuid.uuid4().hex
        body = json.dumps(error.problem(request_id)).encode()
        head = [
            f"HTTP/1.1 {error.status} {error.title}",
            f"content-type: {errors.MEDIA_TYPE}",
            f"content-length: {len(body)}",
            f"x-request-id: {request_id}",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "connection: close",
            *(f"{name.lower()}: {value}" for name, value in error.headers.items()),
        ]
        self._stop_timer()
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()

    # -- time -------------------------------------------------------------------------------------------------------

    def _await_head(self) -> None:
        if self._deadline is None:
            self._set_timer(self._head_timeout, self._on_head_timeout)

    def _on_head_timeout(self) -> None:
        if self._in_message and not self.transport.is_closing():
            self._refuse(HeadTimeout(f"FACE_HEAD_TIMEOUT allows {self._head_timeout:g} seconds"))
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()  # a connection on which nothing is asked

    def _wait_for_next(self) -> None:
        if not self.transport.is_closing() and self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _set_timer(self, seconds: float, action: Any) -> None:
        self._stop_timer()
        self._deadline = self.loop.call_later(seconds, action)

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _reason(error: BaseException | None) -> str:
    """Return why a request could not be parsed, in the parser's words, which hold nothing of the request."""
    if isinstance(error, HttpParserInvalidURLError):
        return (
            "the URL holds a character that it must not: of a name, all but ASCII letters, digits and -._~ stand as %XX"
        )
    return str(error) if type(error) in REASONED else ""
