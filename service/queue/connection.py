"""Connections to Redis for what every request needs: several commands go out in one write.

redis-py's own asyncio client packs commands in Python and wraps each reply, which costs more than what Redis does
(docs/log.md, 'The queue's 3 ms').
These classes can go once redis-py packs with hiredis there: https://github.com/redis/redis-py/issues/4176.

A command is a tuple of words. A script travels by its digest, and as its text where Redis does not know it yet.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hiredis import pack_command
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import NoScriptError, ReadOnlyError
from redis.exceptions import TimeoutError as TooSlow

from service.redis_access import Script, connect, connect_async

Command = tuple[Any, ...]
REPLICA = "this Redis has become another's replica"
"""Said where the connection leads to a master of before: the next one may lead to its successor."""


def by_digest(script: Script, key: str, arguments: Sequence[Any]) -> Command:
    """Return the command that runs a script which Redis knows."""
    return ("EVALSHA", script.digest, 1, key, *arguments)


def by_text(script: Script, key: str, arguments: Sequence[Any]) -> Command:
    """Return the command that runs a script which Redis may not know."""
    return ("EVAL", script.text, 1, key, *arguments)


class Connection:
    """One connection that threads use in turn. Its methods raise Redis' errors; the next call connects again."""

    def __init__(self, url: str) -> None:
        self._connection: Any = connect(url, retries=0).connection_pool.make_connection()
        self._lock = threading.Lock()

    def ask(self, *commands: Command) -> list[Any]:
        """Send the commands in one write and return their replies. Raises the first reply that is an error."""
        with self._lock:
            try:
                self._connection.send_packed_command(self._connection.pack_commands(commands))
                return [self._connection.read_response() for _ in commands]
            except ReadOnlyError as error:
                self._connection.disconnect()
                raise Unreachable(REPLICA) from error
            except BaseException:
                self._connection.disconnect()
                raise

    def run(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script and return its reply; once more where the connection was broken, since scripts allow that."""
        try:
            return self._run_once(script, key, arguments)
        except (Unreachable, TooSlow):
            return self._run_once(script, key, arguments)

    def _run_once(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        try:
            return self.ask(by_digest(script, key, arguments))[0]
        except NoScriptError:
            return self.ask(by_text(script, key, arguments))[0]

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        with self._lock:
            self._connection.disconnect()


class ConnectionPool:
    """At most `size` connections for one event loop. Its methods raise Redis' errors."""

    def __init__(self, url: str, size: int, timeout: float) -> None:
        self._pool: Any = connect_async(url, timeout=None, retries=0).connection_pool
        self._idle: list[Any] = []
        self._free = asyncio.Semaphore(size)
        self._timeout = timeout

    async def ask(self, *commands: Command) -> list[Any]:
        """Send the commands in one write and return their replies. Raises the first reply that is an error."""
        async with self._free:
            connection = self._idle.pop() if self._idle else self._pool.make_connection()
            try:
                async with asyncio.timeout(self._timeout):
                    await connection.send_packed_command([pack_command(command) for command in commands])
                    replies = [await connection.read_response() for _ in commands]
            except TimeoutError as error:
                await connection.disconnect(nowait=True)
                raise TooSlow("Redis sent no reply in time") from error
            except ReadOnlyError as error:
                await connection.disconnect(nowait=True)
                raise Unreachable(REPLICA) from error
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._idle.append(connection)
            return replies

    async def run(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        """Run a script and return its reply; once more where the connection was broken, since scripts allow that."""
        try:
            return await self._run_once(script, key, arguments)
        except Unreachable:
            await self.close()  # the idle connections broke with it
            return await self._run_once(script, key, arguments)

    async def _run_once(self, script: Script, key: str, arguments: Sequence[Any]) -> Any:
        try:
            return (await self.ask(by_digest(script, key, arguments)))[0]
        except NoScriptError:
            return (await self.ask(by_text(script, key, arguments)))[0]

    async def transact(self, *commands: Command) -> list[Any]:
        """Run all commands or none (MULTI, EXEC) and return their replies.

        After a connection error it is unknown whether they ran.
        """
        replies: list[Any] = (await self.ask(("MULTI",), *commands, ("EXEC",)))[-1]
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    async def close(self) -> None:
        """Close the connections that are idle; the next calls connect again."""
        for connection in self._idle:
            with suppress(OSError):
                await connection.disconnect(nowait=True)
        self._idle.clear()
