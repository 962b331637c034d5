"""The audit log: who did what to whose templates, and when; one JSON object a line in a file of the data folder.

It holds no photo, vector or name: collections and subjects are keyed hashes, which only the master key's owner can
compute, so that a name can be looked up and none can be read. Each line ends with a hash of itself and the line before
(`chain`): a line that is changed, taken out or put in is found by `allinone-face audit verify`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.errors import ServiceError
from service.gallery.resources import Resources
from service.gallery.upkeep import Expiry

try:
    import fcntl
except ModuleNotFoundError:  # Windows: there one process writes the file
    fcntl = None  # type: ignore[assignment]

FILE = "audit.jsonl"
PUT_ASIDE = "audit-*.jsonl"
START = "0" * 64
"""The chain's value before the first line there ever was."""
LONGEST_LINE = 8 << 10

log = logging.getLogger(__name__)


class AuditLog:
    """Appends lines, from any thread and several processes. A full disk is logged as an error and stops no answer.

    A file of more than `max_bytes` is renamed to `audit-<time>.jsonl`, and of those the newest `max_files` are kept.
    """

    def __init__(
        self,
        folder: Path,
        resources: Resources,
        max_bytes: int = 64 << 20,
        max_files: int = 16,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._resources = resources
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")

    async def append(self, collection: str | None, subject: str | None, **fields: object) -> None:
        """Write one line without blocking the event loop.

        The pseudonyms need the gallery, which may hang; lines of requests that have nothing to do with it go on.
        """
        names = await asyncio.to_thread(self._pseudonyms, collection, subject) if collection is not None else {}
        await asyncio.wrap_future(self._thread.submit(self._write, fields | names))

    def write(self, collection: str | None, subject: str | None, **fields: object) -> None:
        """Write one line, with pseudonyms for the names; blocks until it is written."""
        self._write(fields | self._pseudonyms(collection, subject))

    def expired(self, expiry: Expiry) -> None:
        """Write the line of a subject that was deleted because it had expired; blocking."""
        self.write(expiry.collection, expiry.subject, action="expired")

    def _pseudonyms(self, collection: str | None, subject: str | None) -> dict[str, object]:
        """Return the keyed hashes in place of names."""
        if collection is None:
            return {}
        try:
            pseudonym = self._resources.gallery.pseudonym
            names: dict[str, object] = {"collection": pseudonym(collection)}
            return names if subject is None else names | {"subject": pseudonym(collection, subject)}
        except (UnicodeError, ServiceError) as error:  # e.g. the gallery cannot be opened: say so, without the names
            return {"names": type(error).__name__}

    def _write(self, fields: dict[str, object]) -> None:
        line: dict[str, object] = {"time": round(self._clock(), 3), **fields}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock, self._opened() as file:
                _append(file, self._folder, line)
        except OSError as error:
            log.error("the audit log cannot be written", extra={"reason": type(error).__name__})

    def close(self) -> None:
        """Write the lines that are waiting, and end the thread."""
        self._thread.shutdown()

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the file for this process alone, after it was put aside if it had become too large."""
        path = self._folder / FILE
        while True:
            file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX)
                size = os.fstat(file).st_size
                if not _is_at(file, path):
                    continue  # another process has just put it aside
                if size < self._max_bytes:
                    yield file
                    return
                self._put_aside(path)
            finally:
                os.close(file)

    def _put_aside(self, path: Path) -> None:
        path.rename(path.with_name(f"audit-{time.time_ns():020d}.jsonl"))
        for oldest in sorted(self._folder.glob(PUT_ASIDE))[: -self._max_files]:
            oldest.unlink(missing_ok=True)


def files(folder: Path) -> list[Path]:
    """Return the files of the log, oldest first, the one that is written last."""
    current = folder / FILE
    return sorted(folder.glob(PUT_ASIDE)) + ([current] if current.exists() else [])


@dataclass(frozen=True)
class Verified:
    """The result of reading the whole log. `complete` is false where older files were deleted by rotation."""

    lines: int
    head: str
    complete: bool
    broken: str | None = None
    """The file and line where the chain breaks."""


def verify(folder: Path) -> Verified:
    """Follow the chain of hashes through all files of a folder's audit log. Raises OSError."""
    count = 0
    complete = True
    chain = None
    for path in files(folder):
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                previous, actual, expected = _links(text)
                if chain is None:
                    chain = previous or START
                    complete = previous in (None, START)
                if actual is None or (previous or chain) != chain or actual != expected(chain):
                    return Verified(count, chain, complete, f"{path.name}, line {number}")
                chain = actual
                count += 1
    return Verified(count, chain or START, complete)


def _links(text: bytes) -> tuple[str | None, str | None, Callable[[str], str]]:
    """Return a line's `previous`, its `chain`, and what computes the chain that it should have."""
    try:
        line = json.loads(text)
        actual = line.pop("chain")
        return line.get("previous"), str(actual), lambda chain: _chained(chain, line)
    except (ValueError, KeyError, AttributeError, TypeError):
        return None, None, lambda _: ""


def _append(file: int, folder: Path, line: dict[str, object]) -> None:
    """Write a line with its chain; the first of a file also names the last hash of the file before it."""
    if os.fstat(file).st_size:
        chain = _last_chain(file)
    else:
        chain = line["previous"] = _last_chain_before(folder)
    line["chain"] = _chained(chain, line)
    _write_whole(file, json.dumps(line).encode() + b"\n")


def _write_whole(file: int, data: bytes) -> None:
    """Write all of a line or nothing of it. Raises OSError."""
    size = os.fstat(file).st_size
    if os.write(file, data) < len(data):
        os.ftruncate(file, size)
        raise OSError("the disk is full")


def _last_chain_before(folder: Path) -> str:
    older = sorted(folder.glob(PUT_ASIDE))
    if not older:
        return START
    with older[-1].open("rb") as file:
        return _last_chain(file.fileno())


def _last_chain(file: int) -> str:
    """Return the hash of the last line."""
    size = os.fstat(file).st_size
    tail = os.pread(file, LONGEST_LINE, max(0, size - LONGEST_LINE))
    for text in reversed(tail.splitlines()):
        _, chain, _ = _links(text)
        if chain is not None:
            return chain
    return START


def _chained(chain: str, line: dict[str, object]) -> str:
    return hashlib.sha256(chain.encode() + json.dumps(line, sort_keys=True).encode()).hexdigest()


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False
