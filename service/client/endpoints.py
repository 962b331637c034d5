"""Descriptors that turn a call's description into a method: blocking on Client, a coroutine on AsyncClient.

search = Endpoint(calls.search)
    Client.search(…)         sends the call and returns its answer
    AsyncClient.search(…)    the same, awaited
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from service.client.call import Answer, Call
from service.client.photos import Photo

P = ParamSpec("P")
Item = TypeVar("Item")
One = TypeVar("One")
Many = TypeVar("Many")
One_co = TypeVar("One_co", covariant=True)
Many_co = TypeVar("Many_co", covariant=True)


class BlockingSender(ABC):
    """The base of the blocking client: send() waits for the answer and returns it."""

    @abstractmethod
    def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer. Raises FaceError."""


class AsyncSender(ABC):
    """The base of the asyncio client: send() is a coroutine that returns the answer."""

    @abstractmethod
    async def send(self, call: Call[Answer]) -> Answer:
        """Send a call and return its answer. Raises FaceError."""


class Endpoint(Generic[P, Answer]):
    """A descriptor: the method of a client that sends one call."""

    def __init__(self, describe: Callable[P, Call[Answer]]) -> None:
        self._describe = describe

    @overload
    def __get__(self, client: BlockingSender, owner: type) -> Callable[P, Answer]: ...
    @overload
    def __get__(self, client: AsyncSender, owner: type) -> Callable[P, Coroutine[Any, Any, Answer]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[P, Call[Answer]]: ...

    def __get__(self, client: BlockingSender | AsyncSender | None, owner: type) -> Callable[P, Any]:
        """Return the method bound to a client; of the class itself, the function that describes the call."""
        describe = self._describe
        if client is None:
            return describe
        sender = client  # the name keeps its narrowed type in the function below

        @functools.wraps(describe)
        def method(*args: P.args, **kwargs: P.kwargs) -> Any:
            return sender.send(describe(*args, **kwargs))

        return method


class Listing(Generic[P, Answer, Item]):
    """A descriptor: the method of a client that reads a listing page by page and yields its entries."""

    def __init__(
        self,
        describe: Callable[Concatenate[str | None, P], Call[Answer]],
        entries: Callable[[Answer], Sequence[Item]],
        cursor: Callable[[Answer], str | None],
    ) -> None:
        self._describe = describe
        self._entries = entries
        self._cursor = cursor

    @overload
    def __get__(self, client: BlockingSender, owner: type) -> Callable[P, Iterator[Item]]: ...
    @overload
    def __get__(self, client: AsyncSender, owner: type) -> Callable[P, AsyncIterator[Item]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[str | None, P], Call[Answer]]: ...

    def __get__(self, client: BlockingSender | AsyncSender | None, owner: type) -> Callable[..., Any]:
        """Return the method bound to a client; of the class itself, the function that describes one page's call."""
        if client is None:
            return self._describe
        read = self._read if isinstance(client, BlockingSender) else self._read_async
        return functools.partial(cast(Callable[..., Any], read), client)

    def _read(self, client: BlockingSender, *args: P.args, **kwargs: P.kwargs) -> Iterator[Item]:
        cursor: str | None = None
        while True:
            page = client.send(self._describe(cursor, *args, **kwargs))
            yield from self._entries(page)
            cursor = self._cursor(page)
            if cursor is None:
                return

    async def _read_async(self, client: AsyncSender, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[Item]:
        cursor: str | None = None
        while True:
            page = await client.send(self._describe(cursor, *args, **kwargs))
            for entry in self._entries(page):
                yield entry
            cursor = self._cursor(page)
            if cursor is None:
                return


class OneOrMany(Protocol[P, One_co, Many_co]):
    """A method whose answer has another type for a list of photos than for one photo."""

    @overload
    def __call__(self, photos: Photo, *args: P.args, **kwargs: P.kwargs) -> One_co: ...
    @overload
    def __call__(self, photos: Sequence[Photo], *args: P.args, **kwargs: P.kwargs) -> Many_co: ...


class PhotosEndpoint(Generic[P, One, Many]):
    """A descriptor: the method of a client that sends one call for a photo and another for a list of photos."""

    def __init__(
        self,
        one: Callable[Concatenate[Photo, P], Call[One]],
        many: Callable[Concatenate[Sequence[Photo], P], Call[Many]],
    ) -> None:
        self._one = one
        self._many = many

    @overload
    def __get__(self, client: BlockingSender, owner: type) -> OneOrMany[P, One, Many]: ...
    @overload
    def __get__(
        self, client: AsyncSender, owner: type
    ) -> OneOrMany[P, Coroutine[Any, Any, One], Coroutine[Any, Any, Many]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Photo, P], Call[One]]: ...

    def __get__(self, client: BlockingSender | AsyncSender | None, owner: type) -> Callable[..., Any]:
        """Return the method bound to a client; of the class itself, the function that describes one photo's call."""
        if client is None:
            return self._one
        sender = client

        @functools.wraps(self._one)
        def method(photos: Photo | Sequence[Photo], *args: P.args, **kwargs: P.kwargs) -> Any:
            if isinstance(photos, list | tuple):
                return sender.send(self._many(photos, *args, **kwargs))
            return sender.send(self._one(cast(Photo, photos), *args, **kwargs))

        return method
