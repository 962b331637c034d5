"""A typed client of the API, blocking and asyncio. A busy server's 429 or 503 is retried after the time it names.

with Client("http://127.0.0.1:8000") as faces:
    faces.enrol("staff", "ada", [Path("ada.jpg")], create=True)
    answer = faces.search("staff", Path("who.jpg"))
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from service import calls
from service.admin_schemas import Keys, Merged, NewKey, Renewed
from service.calls import Answer, Call, FaceError, Photo, Probe
from service.identity_schemas import (
    CollectionOut,
    ComparisonAnswer,
    EnrolAnswer,
    ReceiptOut,
    SearchAnswer,
    SubjectOut,
    Template,
    TemplateAnswer,
    VerifyAnswer,
)
from service.schemas import AnalysisAnswer

__all__ = ["AsyncClient", "Client", "FaceError", "Photo", "Probe", "Template"]

URL = "http://127.0.0.1:8000"
RETRIES = 6


class Client:
    """Blocking; from several threads too. Every method raises FaceError."""

    def __init__(self, url: str = URL, key: str | None = None, retries: int = RETRIES) -> None:
        self._http, self._retries = httpx.Client(base_url=url, headers=calls.headers(key)), retries

    def send(self, call: Call[Answer]) -> Answer:
        """Does a call, again while the server is busy."""
        left = self._retries
        while True:
            try:
                response = self._http.request(call.method, call.path, timeout=call.timeout, **call.arguments)
            except httpx.TransportError as error:
                raise calls.unreachable(error) from error
            if (seconds := calls.wait(response, left)) is None:
                return call.answer(response)
            left -= 1
            time.sleep(seconds)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def analyze(self, photo: Photo, **options: Any) -> AnalysisAnswer:
        """Every face of a photo; options as the API has them."""
        return self.send(calls.analyze(photo, **options))

    def compare(self, first: Photo | Template, second: Photo | Template, **asked: Any) -> ComparisonAnswer:
        """Are these one person?"""
        return self.send(calls.compare(first, second, **asked))

    def template(self, photos: Sequence[Photo], **asked: Any) -> TemplateAnswer:
        """One template of a person's photos."""
        return self.send(calls.template(photos, **asked))

    def put_collection(self, name: str, **policy: Any) -> CollectionOut:
        """Make a collection, or find that it is there."""
        return self.send(calls.put_collection(name, **policy))

    def collections(self) -> Iterator[CollectionOut]:
        """All of them."""
        cursor = None
        while True:
            page = self.send(calls.collections(cursor))
            yield from page.collections
            if (cursor := page.cursor) is None:
                return

    def delete_collection(self, name: str) -> ReceiptOut:
        """Forget a collection."""
        return self.send(calls.delete_collection(name))

    def put_subject(
        self, collection: str, subject: str, metadata: Mapping[str, Any] | None = None, ttl: float | None = None
    ) -> SubjectOut:
        """Make a subject, or change what is known of it."""
        return self.send(calls.put_subject(collection, subject, metadata, ttl))

    def subject(self, collection: str, subject: str) -> SubjectOut:
        """One subject."""
        return self.send(calls.get_subject(collection, subject))

    def subjects(self, collection: str) -> Iterator[SubjectOut]:
        """All of them."""
        cursor = None
        while True:
            page = self.send(calls.subjects(collection, cursor))
            yield from page.subjects
            if (cursor := page.cursor) is None:
                return

    def delete_subject(self, collection: str, subject: str) -> ReceiptOut:
        """Forget a subject."""
        return self.send(calls.delete_subject(collection, subject))

    def enrol(self, collection: str, subject: str, photos: Sequence[Photo], **asked: Any) -> EnrolAnswer:
        """Add photos to a subject; `create=True` makes it."""
        return self.send(calls.enrol(collection, subject, photos, **asked))

    def delete_medium(self, collection: str, subject: str, medium: str) -> SubjectOut:
        """Forget one medium."""
        return self.send(calls.delete_medium(collection, subject, medium))

    def verify(self, collection: str, subject: str, probe: Probe, **asked: Any) -> VerifyAnswer:
        """Is this the subject?"""
        return self.send(calls.verify(collection, subject, probe, **asked))

    def search(self, collection: str, probe: Probe, **asked: Any) -> SearchAnswer:
        """Who is this?"""
        return self.send(calls.search(collection, probe, **asked))

    def export(self, collection: str, passphrase: str) -> bytes:
        """The collection as one sealed file."""
        return self.send(calls.export(collection, passphrase))

    def import_(self, collection: str, file: bytes, passphrase: str) -> CollectionOut:
        """An exported file as a new collection."""
        return self.send(calls.import_(collection, file, passphrase))

    def merge(self, source: str, target: str) -> Merged:
        """Add the subjects of one collection to another."""
        return self.send(calls.merge(source, target))

    def re_enrol(self, collection: str, drop: bool = False) -> Renewed:
        """Move a collection to the model that answers now."""
        return self.send(calls.re_enrol(collection, drop))

    def create_key(self, label: str, roles: Sequence[str], **asked: Any) -> NewKey:
        """Make an API key."""
        return self.send(calls.create_key(label, roles, **asked))

    def keys(self) -> Keys:
        """All keys."""
        return self.send(calls.keys())

    def revoke_key(self, key: str) -> None:
        """End a key."""
        self.send(calls.revoke_key(key))


class AsyncClient:
    """The same for asyncio. Every method raises FaceError."""

    def __init__(self, url: str = URL, key: str | None = None, retries: int = RETRIES) -> None:
        self._http, self._retries = httpx.AsyncClient(base_url=url, headers=calls.headers(key)), retries

    async def send(self, call: Call[Answer]) -> Answer:
        """Does a call, again while the server is busy."""
        left = self._retries
        while True:
            try:
                response = await self._http.request(call.method, call.path, timeout=call.timeout, **call.arguments)
            except httpx.TransportError as error:
                raise calls.unreachable(error) from error
            if (seconds := calls.wait(response, left)) is None:
                return call.answer(response)
            left -= 1
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def analyze(self, photo: Photo, **options: Any) -> AnalysisAnswer:
        """Every face of a photo; options as the API has them."""
        return await self.send(calls.analyze(photo, **options))

    async def compare(self, first: Photo | Template, second: Photo | Template, **asked: Any) -> ComparisonAnswer:
        """Are these one person?"""
        return await self.send(calls.compare(first, second, **asked))

    async def template(self, photos: Sequence[Photo], **asked: Any) -> TemplateAnswer:
        """One template of a person's photos."""
        return await self.send(calls.template(photos, **asked))

    async def put_collection(self, name: str, **policy: Any) -> CollectionOut:
        """Make a collection, or find that it is there."""
        return await self.send(calls.put_collection(name, **policy))

    async def collections(self) -> AsyncIterator[CollectionOut]:
        """All of them."""
        cursor = None
        while True:
            page = await self.send(calls.collections(cursor))
            for found in page.collections:
                yield found
            if (cursor := page.cursor) is None:
                return

    async def delete_collection(self, name: str) -> ReceiptOut:
        """Forget a collection."""
        return await self.send(calls.delete_collection(name))

    async def put_subject(
        self, collection: str, subject: str, metadata: Mapping[str, Any] | None = None, ttl: float | None = None
    ) -> SubjectOut:
        """Make a subject, or change what is known of it."""
        return await self.send(calls.put_subject(collection, subject, metadata, ttl))

    async def subject(self, collection: str, subject: str) -> SubjectOut:
        """One subject."""
        return await self.send(calls.get_subject(collection, subject))

    async def subjects(self, collection: str) -> AsyncIterator[SubjectOut]:
        """All of them."""
        cursor = None
        while True:
            page = await self.send(calls.subjects(collection, cursor))
            for found in page.subjects:
                yield found
            if (cursor := page.cursor) is None:
                return

    async def delete_subject(self, collection: str, subject: str) -> ReceiptOut:
        """Forget a subject."""
        return await self.send(calls.delete_subject(collection, subject))

    async def enrol(self, collection: str, subject: str, photos: Sequence[Photo], **asked: Any) -> EnrolAnswer:
        """Add photos to a subject; `create=True` makes it."""
        return await self.send(calls.enrol(collection, subject, photos, **asked))

    async def delete_medium(self, collection: str, subject: str, medium: str) -> SubjectOut:
        """Forget one medium."""
        return await self.send(calls.delete_medium(collection, subject, medium))

    async def verify(self, collection: str, subject: str, probe: Probe, **asked: Any) -> VerifyAnswer:
        """Is this the subject?"""
        return await self.send(calls.verify(collection, subject, probe, **asked))

    async def search(self, collection: str, probe: Probe, **asked: Any) -> SearchAnswer:
        """Who is this?"""
        return await self.send(calls.search(collection, probe, **asked))

    async def export(self, collection: str, passphrase: str) -> bytes:
        """The collection as one sealed file."""
        return await self.send(calls.export(collection, passphrase))

    async def import_(self, collection: str, file: bytes, passphrase: str) -> CollectionOut:
        """An exported file as a new collection."""
        return await self.send(calls.import_(collection, file, passphrase))

    async def merge(self, source: str, target: str) -> Merged:
        """Add the subjects of one collection to another."""
        return await self.send(calls.merge(source, target))

    async def re_enrol(self, collection: str, drop: bool = False) -> Renewed:
        """Move a collection to the model that answers now."""
        return await self.send(calls.re_enrol(collection, drop))

    async def create_key(self, label: str, roles: Sequence[str], **asked: Any) -> NewKey:
        """Make an API key."""
        return await self.send(calls.create_key(label, roles, **asked))

    async def keys(self) -> Keys:
        """All keys."""
        return await self.send(calls.keys())

    async def revoke_key(self, key: str) -> None:
        """End a key."""
        await self.send(calls.revoke_key(key))
