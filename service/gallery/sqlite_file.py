"""The gallery's SQLite file: write-ahead log, connections, freed bytes overwritten."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.gallery import StorageFull, StorageUnavailable

BUSY_SECONDS = 10.0


class SqliteFile:
    """Connections to one file, for any thread. Raises StorageUnavailable when it cannot be opened."""

    def __init__(self, path: Path, schema: str, max_pages: int | None = None) -> None:
        self._path, self._max_pages = path, max_pages
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageUnavailable("the gallery's file cannot be opened") from error
        with self.connection() as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(schema)

    def scrub(self) -> None:
        """Freed pages are overwritten as they are freed; what is left is the log, and the file's size.

        A reader that is under way keeps the log from being emptied; the next deletion or call does it.
        """
        with self.connection() as connection:
            connection.execute("PRAGMA incremental_vacuum").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def scrub_if_possible(self) -> None:
        """After a deletion that has happened already: a full disk or a busy file leaves it to a later call."""
        with suppress(StorageFull, StorageUnavailable):
            self.scrub()

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """An idle connection or a new one; given back unless it failed."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            yield connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise _explained(error) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; undone when the block raises or rolls back itself."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction:
                connection.commit()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for setting in ("secure_delete = ON", "foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        if self._max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}").fetchall()
        return connection


def _explained(error: sqlite3.Error) -> StorageFull | StorageUnavailable:
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageFull("no room for the gallery's file; what was stored is intact")
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError):
        return StorageUnavailable("the gallery's file cannot be read or written")
    return StorageUnavailable()
