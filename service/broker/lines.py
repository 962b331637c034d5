"""Connections to Redis without redis-py's wrappers, which cost more than what Redis does: for what each request needs.

Commands are tuples of words; several go out in one write. A script travels by its digest and once as its text.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from hiredis import pack_command
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import NoScriptError
from redis.exceptions import TimeoutError as TooSlow
from redis.retry import Retry

Command = tuple[Any, ...]
READ_BYTES = 1 << 18


class Script:
    """A Lua script with one key."""

    def __init__(self, text: str) -> None:
        self.text, self.digest = text, hashlib.sha1(text.encode()).hexdigest()  # noqa: S324 — Redis' name for it

    def known(self, key: str, words: Sequence[Any]) -> Command:
        """To run it where it was run before."""
        return ("EVALSHA", self.digest, 1, key, *words)

    def new(self, key: str, words: Sequence[Any]) -> Command:
        """To run it where it was not."""
        return ("EVAL", self.text, 1, key, *words)


class Line:
    """One connection for threads, one at a time. Its methods raise redis' errors; the next call connects anew."""

    def __init__(self, url: str) -> None:
        pool: Any = redis.ConnectionPool.from_url(
            url, socket_timeout=10, socket_connect_timeout=2, socket_read_size=READ_BYTES, protocol=2,
            retry=Retry(NoBackoff(), 0),
        )  # fmt: skip
        self._connection: Any = pool.make_connection()
        self._lock = threading.Lock()

    def ask(self, *commands: Command) -> list[Any]:
        """The replies. Raises the first one's error if one is an error."""
        with self._lock:
            try:
                self._connection.send_packed_command(self._connection.pack_commands(commands))
                return [self._connection.read_response() for _ in commands]
            except BaseException:
                self._connection.disconnect()
                raise

    def run(self, script: Script, key: str, words: Sequence[Any]) -> Any:
        """The script's reply. It is run again where the connection was found broken."""
        for last in (False, True):
            try:
                return self.ask(script.known(key, words))[0]
            except NoScriptError:
                return self.ask(script.new(key, words))[0]
            except (Unreachable, TooSlow):
                if last:
                    raise
        return None

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._connection.disconnect()


class Lines:
    """Up to `most` connections for one event loop. Raises redis' errors, ValueError for an URL that is none."""

    def __init__(self, url: str, most: int, timeout: float) -> None:
        self._pool: Any = redis.asyncio.ConnectionPool.from_url(
            url, socket_timeout=None, socket_connect_timeout=2, protocol=2, retry=AsyncRetry(NoBackoff(), 0)
        )
        self._idle: list[Any] = []
        self._room, self._timeout = asyncio.Semaphore(most), timeout

    async def ask(self, *commands: Command) -> list[Any]:
        """The replies. Raises the first one's error if one is an error."""
        async with self._room:
            connection = self._idle.pop() if self._idle else self._pool.make_connection()
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.send_packed_command([pack_command(command) for command in commands])
                    replies = [await connection.read_response() for _ in commands]
            except TimeoutError as error:
                await connection.disconnect(nowait=True)
                raise TooSlow("no reply in time") from error
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._idle.append(connection)
            return replies

    async def run(self, script: Script, key: str, words: Sequence[Any]) -> Any:
        """The script's reply. It is run again where the connection was found broken."""
        for last in (False, True):
            try:
                return (await self.ask(script.known(key, words)))[0]
            except NoScriptError:
                return (await self.ask(script.new(key, words)))[0]
            except Unreachable:
                await self.close()  # the idle ones broke with it
                if last:
                    raise
        return None

    async def transact(self, *commands: Command) -> list[Any]:
        """The replies to commands of which all are run or none; which of the two is open where this raises."""
        replies: list[Any] = (await self.ask(("MULTI",), *commands, ("EXEC",)))[-1]
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def close(self) -> None:
        """Let go of those that are idle."""
        for connection in self._idle:
            with suppress(OSError):
                await connection.disconnect(nowait=True)
        self._idle.clear()
