"""The audit log: who did what to whose templates, and when; one JSON object a line in a file of the data folder.

It holds no photo, vector or name: collections and subjects are keyed hashes, which only the master key's owner can
compute, so that a name can be looked up and none can be read.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from service.errors import ServiceError
from service.gallery.opening import Opening

FILE = "audit.jsonl"
log = logging.getLogger(__name__)


class AuditLog:
    """Appends lines, from any thread; the file may be renamed meanwhile. A full disk is logged and stops nothing."""

    def __init__(self, folder: Path, opening: Opening, clock: Callable[[], float] = time.time) -> None:
        self._path, self._opening, self._clock = folder / FILE, opening, clock
        self._lock = threading.Lock()

    def write(self, collection: str | None, subject: str | None, **fields: object) -> None:
        """One line."""
        line: dict[str, object] = {"time": round(self._clock(), 3), **fields}
        try:
            if collection is not None:
                pseudonym = self._opening.gallery.pseudonym
                line["collection"] = pseudonym(collection)
                if subject is not None:
                    line["subject"] = pseudonym(collection, subject)
            data = json.dumps(line).encode() + b"\n"
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                try:
                    os.write(file, data)
                finally:
                    os.close(file)
        except (OSError, UnicodeError, ServiceError) as error:
            log.error("the audit log cannot be written", extra={"reason": type(error).__name__})


class Audited(APIRoute):
    """A route whose every request leaves a line, whatever became of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, watched."""
        handle = super().get_route_handler()

        async def watched(request: Request) -> Response:
            status = 500
            receipt = None
            try:
                response = await handle(request)
                status, receipt = response.status_code, getattr(request.state, "receipt", None)
                return response
            except ServiceError as error:
                status = error.status
                raise
            except RequestValidationError:
                status = 422
                raise
            finally:
                key = getattr(request.state, "key", None)
                names = request.path_params
                fields = {
                    "request_id": request.scope["request_id"],
                    "action": f"{request.method} {self.path}",
                    "status": status,
                    "key": key.id if key else None,
                    **({"receipt": receipt} if receipt else {}),
                }
                audit: AuditLog = request.app.state.audit
                subject = names.get("subject")
                await run_in_threadpool(lambda: audit.write(names.get("collection"), subject, **fields))

        return watched
