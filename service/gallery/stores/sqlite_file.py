"""The gallery's SQLite file: write-ahead log, connections, freed bytes overwritten, a reserve for deletions."""

from __future__ import annotations

import math
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.gallery.errors import StorageFull, StorageUnavailable
from service.gallery.stores.store import JUMP_SECONDS

BUSY_SECONDS = 10.0
RESERVE_BYTES = 4 << 20
"""Bytes of a file beside the gallery that is given up when a deletion finds the disk full."""
VACUUMED_PAGES = 4096
"""Free pages of 4 KiB that are dropped from the file in one transaction."""
VACUUMED_PAGES_WITHOUT_ROOM = 128
VACUUM_SECONDS = 5.0
"""How long a caller waits for free pages, which were overwritten already, to leave the file; a later one goes on."""
CLOCK_SECONDS = 60.0
"""How often the latest time is written to the file."""
_CLOCK = "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), latest REAL NOT NULL)"


class SqliteFile:
    """Connections to one file, for any thread. Raises StorageUnavailable when it cannot be opened."""

    def __init__(self, path: Path, schema: str, max_pages: int | None = None) -> None:
        self._path = path
        self._max_pages = max_pages
        self._reserve = path.with_name(f"{path.name}.reserve")
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path)
        except OSError as error:
            raise StorageUnavailable("the gallery's file cannot be opened") from error
        with self.connection() as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            self._check_format(connection)
            connection.executescript(schema)
            connection.execute(_CLOCK)
            row = connection.execute("SELECT latest FROM clock").fetchone()
        self._latest = self._written_down = float(row[0]) if row else 0.0
        self._latest_at: float | None = None  # time.monotonic(); None: the file may have lain unused for any time
        self._fill_reserve()

    def now(self) -> float:
        """Return the seconds since 1970, never less than the file has seen before: expiry cannot be turned back.

        A time to which the clock jumped by a day is returned, but not remembered: the clock may be set right again.
        """
        wall_time = time.time()
        monotonic = time.monotonic()
        with self._lock:
            expected = wall_time if self._latest_at is None else self._latest + monotonic - self._latest_at
            if wall_time - expected >= JUMP_SECONDS:
                return wall_time
            if wall_time >= self._latest or self._latest_at is None:
                self._latest = max(self._latest, wall_time)
                self._latest_at = monotonic
            latest = self._latest
            due = latest - self._written_down >= CLOCK_SECONDS
            if due:
                self._written_down = latest
        if due:
            query = (
                "INSERT INTO clock VALUES (0, ?) ON CONFLICT (id) DO UPDATE SET latest = max(latest, excluded.latest)"
            )
            with suppress(StorageFull, StorageUnavailable), self.write() as connection:
                connection.execute(query, (latest,))
        return latest

    def scrub(self) -> None:
        """Empty the log and return free pages to the file system; freed pages are overwritten when they are freed.

        A reader that is under way keeps the log from being emptied; the next deletion or call does it.
        """
        with self.connection() as connection:
            if self._has_room():
                _vacuum(connection, VACUUMED_PAGES, VACUUM_SECONDS)
            else:
                _vacuum(connection, VACUUMED_PAGES_WITHOUT_ROOM)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._fill_reserve()

    def scrub_if_possible(self) -> None:
        """Scrub after a deletion that has already happened: a full disk or a busy file leaves it to a later call."""
        with suppress(StorageFull, StorageUnavailable):
            self.scrub()

    def close(self) -> None:
        """Close all connections that are not lent to anybody at the moment."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend an idle connection or a new one; it is closed if the block raises."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        try:
            connection = connection or self._connect()
            yield connection
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise _translated(error) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Hold the write lock for a transaction; it is undone when the block raises or rolls back itself."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            if connection.in_transaction:
                connection.commit()

    def delete(self, work: Callable[[sqlite3.Connection], bool]) -> bool:
        """Do a deletion as one transaction, which must be possible on a full disk too: the reserve is given up for it.

        `work` returns whether anything was deleted; it is called again where overwriting what it frees took more room
        than there is.
        """
        if not self._has_room():
            self._give_up_reserve()
        try:
            with self.write() as connection:
                return work(connection)
        except StorageFull:
            self._give_up_reserve()
        return self._delete_sparingly(work)

    def _delete_sparingly(self, work: Callable[[sqlite3.Connection], bool]) -> bool:
        """Free pages without overwriting them, which takes as much of the log; then drop them from the file.

        The vacuum puts pages that are in use in their place and cuts the rest off, in steps of which each is little.
        """
        with self.connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            connection.execute("PRAGMA secure_delete = OFF").fetchall()
            connection.execute("BEGIN IMMEDIATE")
            deleted = work(connection)
            if connection.in_transaction:
                connection.commit()
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            with suppress(sqlite3.Error):  # what was to be deleted is; a later call goes on
                _vacuum(connection, VACUUMED_PAGES_WITHOUT_ROOM)
        return deleted

    def _give_up_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.unlink()

    def _has_room(self) -> bool:
        """Return whether the file system has room for the log of a deletion."""
        try:
            state = os.statvfs(self._path)
        except OSError:
            return False
        return state.f_bavail * state.f_frsize >= RESERVE_BYTES

    def _fill_reserve(self) -> None:
        """Make the reserve if it is not there and the file system has room for it and as much again."""
        try:
            if self._reserve.exists():
                return
            state = os.statvfs(self._path)
            if state.f_bavail * state.f_frsize < 2 * RESERVE_BYTES:
                return
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, RESERVE_BYTES)
            finally:
                os.close(descriptor)
        except OSError:
            with suppress(OSError):
                self._reserve.unlink()

    @staticmethod
    def _check_format(connection: sqlite3.Connection) -> None:
        """Refuse the file of version 1, which held expiry in clear and no ledger."""
        columns = {row[1] for row in connection.execute("PRAGMA table_info(collections)")}
        if columns and "ledger" not in columns:
            raise StorageUnavailable(
                "an earlier version wrote this gallery: export its collections with that version and import the files"
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for setting in ("secure_delete = ON", "foreign_keys = ON", "synchronous = FULL", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        if self._max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {self._max_pages}").fetchall()
        return connection


def _create(path: Path) -> None:
    """Make an empty file, readable by its owner only, where there is none.

    A file that is there is not opened, be it for a moment: with the first descriptor that a process closes, all of its
    locks on that file are gone. The next process that leaves would take itself for the last one and delete the log
    that connections of this one still write to.
    """
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(f"{path} may not be read and written")
        return
    empty = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    os.close(os.open(empty, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with suppress(FileExistsError):  # another thread or process was faster
            os.link(empty, path)
    finally:
        empty.unlink()


def _vacuum(connection: sqlite3.Connection, pages: int, seconds: float = math.inf) -> None:
    """Return free pages to the file system, in transactions of so many pages, whose log is used again by the next."""
    end = time.monotonic() + seconds
    free_pages = _free_pages(connection)
    while free_pages and time.monotonic() < end:
        # executescript() goes on to the end of a statement without columns; execute() would drop one page of them all
        connection.executescript(f"PRAGMA incremental_vacuum({pages})")
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        free_before, free_pages = free_pages, _free_pages(connection)
        if free_pages >= free_before:  # others delete meanwhile
            return


def _free_pages(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def _translated(error: sqlite3.Error) -> StorageFull | StorageUnavailable:
    """Return the service's error for an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if code is not None else None
    if primary in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageFull("no room for the gallery's file; what was stored is intact")
    if isinstance(error, sqlite3.OperationalError | sqlite3.DatabaseError):
        return StorageUnavailable("the gallery's file cannot be read or written")
    return StorageUnavailable()
