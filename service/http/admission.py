"""The gate in front of all routes: everything that the head of a request can decide is decided here.

    head → endpoint (404, 405) → foreign page? (403) → API key (401, 403, 429) → query (422) → announced size (413)
                                                                             → body, bounded (408, 413, 429) → route

No byte of a body is read before, whichever way a route was added to the application.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.config import Settings
from service.errors import MethodNotAllowed, NotFound, ServiceError
from service.gallery.errors import CollectionNotFound, InvalidName
from service.http.audit import AuditLog
from service.http.auth import Authenticator, Endpoint, EndpointTable, allowed_methods
from service.http.bodies import Body, BodyBudget
from service.http.browsers import BrowserGuard
from service.http.compat.endpoints import COMPREFACE, REKOGNITION, api_of, canonical_path
from service.http.queries import QueryNames, check_query
from service.keys import Key
from service.ops.metrics import Metrics

AUDITED_PREFIXES = ("/v1/", COMPREFACE, REKOGNITION)
"""Beginnings of the paths whose requests are written to the audit log."""
CLIENT_GONE = 499
"""nginx's number for a client that left before its answer; only in logs and metrics."""


class Admission:
    """ASGI middleware that lets a request through to its route, with its body bounded and its line in the audit log."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        authenticator: Authenticator,
        audit: AuditLog,
        metrics: Metrics,
        queries: QueryNames,
    ) -> None:
        self._app = app
        self._settings = settings
        self._authenticator = authenticator
        self._audit = audit
        self._metrics = metrics
        self._queries = queries
        self._table = EndpointTable(settings.compat)
        self._browsers = BrowserGuard(settings)
        self._budget = BodyBudget(int(settings.body_bytes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request of the ASGI server. Raises a ServiceError for one that is refused."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        endpoint, path = self._find(scope)
        body = Body(scope, receive, endpoint.body, self._settings, self._budget)
        scope.setdefault("state", {})["body"] = body
        record = Record(self._audit, scope, endpoint, EndpointTable.names(endpoint, path), self._authenticator.enabled)

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                await record.write(message["status"])
                if message["status"] >= 400:
                    await body.drain()
            await send(message)

        try:
            await self._admit(scope, endpoint, record)
            known = self._queries.get((endpoint.method, endpoint.path))
            if scope["query_string"] and known is not None and endpoint.path.startswith("/v1/"):
                check_query(scope["query_string"], known)
            body.check_announced()
            method = "GET" if scope["method"] == "HEAD" else scope["method"]
            prefix = self._settings.root_path
            inner = {**scope, "method": method, "root_path": prefix, "path": prefix + path}
            await self._app(inner, body.receive, send_recorded)
        except ServiceError as error:
            await record.write(error.status)
            await body.drain()
            raise
        finally:
            await record.write(CLIENT_GONE)  # where no answer was begun
            self._metrics.request_bytes.inc(body.received)
            body.release()

    def _find(self, scope: Scope) -> tuple[Endpoint, str]:
        """Return the endpoint and the path without the prefix that a proxy put before it."""
        path = canonical_path(scope["path"].removeprefix(self._settings.root_path) or "/", Headers(scope=scope))
        api = api_of(path)
        scope["compat"] = api if api in self._settings.compat else None
        check_names(scope["raw_path"])
        endpoints = self._table.methods(path)
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        endpoint = endpoints.get(method)
        scope["route_path"] = next(iter(endpoints.values())).path if endpoints else "other"
        if endpoint is None:
            self._browsers.check(Headers(scope=scope), None)
            if not endpoints:
                raise NotFound("there is no such path or operation; /docs lists all")
            allowed = allowed_methods(endpoints)
            raise MethodNotAllowed(f"this path takes {allowed}", {"Allow": allowed})
        return endpoint, path

    async def _admit(self, scope: Scope, endpoint: Endpoint, record: Record) -> None:
        headers = Headers(scope=scope)
        self._browsers.check(headers, endpoint)
        state = scope.setdefault("state", {})
        state["key"] = None
        if self._authenticator.enabled and endpoint.needs != "nothing":
            state["key"] = record.key = await self._authenticator.authenticate(
                headers, signed=scope["compat"] == "rekognition", in_path=record.names.get("api_key")
            )
            self._authenticator.authorize(record.key, endpoint.needs)
            collection = record.names.get("collection")
            if collection is not None and not record.key.reaches(collection):
                raise CollectionNotFound  # to this key it is as if the collection were not there


class Record:
    """The line that one request leaves in the audit log, written once.

    Requests of unknown callers (no key where one is needed, foreign pages) are counted in the metrics and not written:
    anybody could fill the disk with them. Analysis and jobs are written where keys tell who asked.
    """

    def __init__(self, audit: AuditLog, scope: Scope, endpoint: Endpoint, names: dict[str, str], keys_on: bool) -> None:
        self.key: Key | None = None
        self._audit = audit
        self._scope = scope
        self._endpoint = endpoint
        self._keys_on = keys_on
        self.names = names
        is_audited = endpoint.path.startswith(AUDITED_PREFIXES) and endpoint.needs != "nothing"
        self._is_due = is_audited and (keys_on or endpoint.needs not in ("analyze", "any key"))

    async def write(self, status: int) -> None:
        """Write the line with the status of the answer, the first time this is called."""
        is_due = self._is_due
        self._is_due = False
        if not is_due or (self.key is None and (self._keys_on or status == 403)):
            return
        state: dict[str, Any] = self._scope.get("state", {})
        receipt = state.get("receipt")
        names = self.names | state.get("audited", {})
        await self._audit.append(
            names.get("collection"),
            names.get("subject"),
            request_id=self._scope["request_id"],
            action=f"{self._endpoint.method} {self._endpoint.path}",
            status=status,
            key=self.key.id if self.key else None,
            **({"receipt": receipt} if receipt else {}),
        )


def check_names(raw_path: bytes) -> None:
    """Raise InvalidName for a path with names that do not come through: a quoted / or bytes that are not UTF-8."""
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError as error:
        raise InvalidName from error
    if b"%2f" in raw_path.lower():
        raise InvalidName
