"""The one place that opens connections to Redis, loads Lua scripts and translates Redis' errors into the service's.

A Redis that says that it is read-only has become another's replica: its connections are given up, so that the next ones
lead to the master that took its name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError
from redis.retry import Retry

from service.errors import ServiceError

CONNECT_SECONDS = 2.0
"""Longest wait for a connection, so that an unreachable Redis is noticed soon."""
READ_BYTES = 1 << 18
"""Bytes read from a socket at once: a photo arrives in few reads."""
INCLUDE = "-- include "
USERS = {
    "default": "~* &* +@all",
    "api": "~face:* resetchannels +@all -@admin -@dangerous",
    "worker": "~face:queue:* resetchannels +@all -@admin -@dangerous",
}
"""Users of Redis and their rules, in the syntax of ACL SETUSER.

`default` is for operators, `api` for API processes, searchers and commands; `worker` reaches the queue's keys and
neither jobs nor the gallery.
"""


@dataclass(frozen=True)
class Script:
    """A Lua script, and the SHA-1 digest by which Redis knows it once it has run."""

    text: str = field(repr=False)
    digest: str


def load_script(package: str, name: str) -> Script:
    """Load `<name>.lua` from the package's folder `lua`, with the files that its `-- include NAME` lines name.

    Redis runs each script alone, so that functions which several scripts share must stand in each of them.
    """
    folder = files(package) / "lua"

    def expand(name: str) -> str:
        lines = (folder / f"{name}.lua").read_text(encoding="utf-8").splitlines()
        return "\n".join(expand(line[len(INCLUDE) :].strip()) if line.startswith(INCLUDE) else line for line in lines)

    text = expand(name)
    return Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 (Redis names scripts by SHA-1)


def connect(url: str, timeout: float = 10.0, retries: int = 1) -> redis.Redis:
    """Return a client for threads. Raises ValueError for a URL that Redis clients do not know."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_read_size=READ_BYTES,
        retry=Retry(NoBackoff(), retries),
        retry_on_error=[ReadOnlyError],
        protocol=2,
    )


def connect_async(
    url: str, timeout: float | None = 10.0, retries: int = 1, connections: int | None = None
) -> redis.asyncio.Redis:
    """Return a client for one event loop with at most `connections` connections. Raises ValueError for a bad URL."""
    kind = redis.asyncio.BlockingConnectionPool if connections else redis.asyncio.ConnectionPool
    limit = {"max_connections": connections} if connections else {}
    pool = kind.from_url(
        url,
        socket_timeout=timeout,
        socket_connect_timeout=CONNECT_SECONDS,
        retry=AsyncRetry(NoBackoff(), retries),
        retry_on_error=[ReadOnlyError],
        protocol=2,
        **limit,
    )
    return redis.asyncio.Redis.from_pool(pool)


@contextmanager
def redis_errors(unreachable: Callable[[], ServiceError], full: Callable[[], ServiceError]) -> Iterator[None]:
    """Raise the service's errors in place of Redis': `full` when its memory is full, else `unreachable`."""
    try:
        yield
    except OutOfMemoryError as error:
        raise full() from error
    except (RedisError, OSError) as error:
        raise unreachable() from error
