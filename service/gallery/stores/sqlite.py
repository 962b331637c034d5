"""The store in one SQLite file: write-ahead log, freed bytes overwritten, the log emptied after a deletion."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from typing_extensions import override

from service.gallery.stores.sqlite_file import SqliteFile
from service.gallery.stores.store import (
    Changes,
    CollectionRow,
    LedgerUpdate,
    RecordChange,
    Store,
    SubjectRow,
    SubjectWrite,
)

REMEMBERED = 100_000
"""Deletions of a collection that other processes can catch up with; one that is further behind reads everything."""
STEP = 4096
"""Rows read at once while catching up, so that a long reading holds no transaction."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collections (
    id BLOB PRIMARY KEY, tag BLOB UNIQUE, key BLOB NOT NULL, meta BLOB NOT NULL,
    version INTEGER NOT NULL, ledger BLOB NOT NULL, floor INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS ledger_pages (
    collection BLOB NOT NULL REFERENCES collections ON DELETE CASCADE, number INTEGER NOT NULL, page BLOB NOT NULL,
    PRIMARY KEY (collection, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subjects (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, collection BLOB NOT NULL REFERENCES collections ON DELETE CASCADE,
    tag BLOB NOT NULL, version INTEGER NOT NULL, template BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (collection, tag));
CREATE INDEX IF NOT EXISTS subject_versions ON subjects (collection, version);
CREATE TABLE IF NOT EXISTS deletions (
    collection BLOB NOT NULL REFERENCES collections ON DELETE CASCADE, version INTEGER NOT NULL,
    serial INTEGER NOT NULL, PRIMARY KEY (collection, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS photos (
    serial INTEGER NOT NULL REFERENCES subjects ON DELETE CASCADE, medium BLOB NOT NULL, photo BLOB NOT NULL,
    PRIMARY KEY (serial, medium));
"""
_SUBJECT = "SELECT tag, serial, version, template, body FROM subjects"
_COLLECTION = "SELECT id, tag, key, meta, version, ledger FROM collections"


class SqliteStore(Store):
    """One file, for any number of threads and processes of one machine.

    Raises StorageUnavailable when the file cannot be opened. `max_pages` bounds the file's size, for tests.
    """

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self._file = SqliteFile(path, _SCHEMA, max_pages)

    @override
    def now(self) -> float:
        return self._file.now()

    # -- small values -------------------------------------------------------------------------------------------------

    @override
    def record(self, name: str) -> bytes | None:
        with self._file.connection() as connection:
            row = connection.execute("SELECT value FROM records WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    @override
    def records(self, prefix: str) -> dict[str, bytes]:
        with self._file.connection() as connection:
            query = "SELECT name, value FROM records WHERE substr(name, 1, ?) = ?"
            return dict(connection.execute(query, (len(prefix), prefix)).fetchall())

    @override
    def put_record(self, name: str, value: bytes) -> None:
        with self._file.write() as connection:
            connection.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (name, value))

    @override
    def replace_record(self, name: str, old: bytes | None, new: bytes) -> bool:
        with self._file.write() as connection:
            if old is None:
                query = "INSERT OR IGNORE INTO records VALUES (?, ?)"
                return connection.execute(query, (name, new)).rowcount > 0
            query = "UPDATE records SET value = ? WHERE name = ? AND value = ?"
            return connection.execute(query, (new, name, old)).rowcount > 0

    @override
    def delete_record(self, name: str) -> bool:
        query = "DELETE FROM records WHERE name = ?"
        return self._file.delete(lambda connection: connection.execute(query, (name,)).rowcount > 0)

    # -- collections --------------------------------------------------------------------------------------------------

    @override
    def create(self, row: CollectionRow, catalog: RecordChange | None = None) -> bool:
        query = "INSERT OR IGNORE INTO collections (id, tag, key, meta, version, ledger) VALUES (?, ?, ?, ?, ?, ?)"
        with self._file.write() as connection:
            values = (row.id, row.tag, row.key, row.meta, row.version, row.ledger)
            if not _replaced(connection, catalog) or not connection.execute(query, values).rowcount:
                connection.rollback()
                return False
        return True

    @override
    def collection(self, tag: bytes) -> CollectionRow | None:
        with self._file.connection() as connection:
            row = connection.execute(f"{_COLLECTION} WHERE tag = ?", (tag,)).fetchone()
        return CollectionRow(*row) if row else None

    @override
    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        query = f"{_COLLECTION} WHERE tag > ? ORDER BY tag LIMIT ?"
        with self._file.connection() as connection:
            return [CollectionRow(*row) for row in connection.execute(query, (after, limit))]

    @override
    def all_collections(self) -> list[CollectionRow]:
        with self._file.connection() as connection:
            return [CollectionRow(*row) for row in connection.execute(_COLLECTION)]

    @override
    def publish(
        self, collection: bytes, tag: bytes, catalog: RecordChange, replacing: CollectionRow | None = None
    ) -> bool:
        with self._file.write() as connection:
            succeeded = _replaced(connection, catalog)
            if succeeded and replacing is not None:
                query = "DELETE FROM collections WHERE id = ? AND version = ? AND key = ?"
                values = (replacing.id, replacing.version, replacing.key)
                succeeded = connection.execute(query, values).rowcount > 0
            query = "UPDATE OR IGNORE collections SET tag = ? WHERE id = ?"
            if not succeeded or not connection.execute(query, (tag, collection)).rowcount:
                connection.rollback()
                return False
        if replacing is not None:
            self._file.scrub_if_possible()
        return True

    @override
    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        query = "UPDATE collections SET key = ? WHERE id = ? AND key = ?"
        with self._file.write() as connection:
            return connection.execute(query, (new, collection, old)).rowcount > 0

    @override
    def delete_collection(self, collection: bytes, catalog: RecordChange | None = None) -> bool:
        query = "DELETE FROM collections WHERE id = ?"

        def work(connection: sqlite3.Connection) -> bool:
            if _replaced(connection, catalog) and connection.execute(query, (collection,)).rowcount:
                return True
            connection.rollback()
            return False

        if not self._file.delete(work):
            return False
        self._file.scrub_if_possible()
        return True

    @override
    def count(self, collection: bytes) -> int:
        query = "SELECT count(*) FROM subjects INDEXED BY subject_versions WHERE collection = ?"
        with self._file.connection() as connection:
            return int(connection.execute(query, (collection,)).fetchone()[0])

    @override
    def ledger_page(self, collection: bytes, number: int) -> bytes | None:
        query = "SELECT page FROM ledger_pages WHERE collection = ? AND number = ?"
        with self._file.connection() as connection:
            row = connection.execute(query, (collection, number)).fetchone()
        return row[0] if row else None

    # -- subjects -----------------------------------------------------------------------------------------------------

    @override
    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        with self._file.connection() as connection:
            row = connection.execute(f"{_SUBJECT} WHERE collection = ? AND tag = ?", (collection, tag)).fetchone()
        return SubjectRow(*row) if row else None

    @override
    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        query = f"{_SUBJECT} WHERE collection = ? AND tag > ? ORDER BY tag LIMIT ?"
        with self._file.connection() as connection:
            return [SubjectRow(*row) for row in connection.execute(query, (collection, after, limit))]

    @override
    def rows_by_serial(self, collection: bytes, serials: Collection[int]) -> list[SubjectRow]:
        query = f"{_SUBJECT} WHERE serial = ? AND collection = ?"
        with self._file.connection() as connection:
            rows = [connection.execute(query, (serial, collection)).fetchone() for serial in serials]
        return [SubjectRow(*row) for row in rows if row]

    @override
    def put(self, collection: bytes, version: int, subject: SubjectWrite, ledger: LedgerUpdate) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if not _advance(connection, collection, version, ledger):
                return False
            query = (
                "INSERT INTO subjects (collection, tag, version, template, body) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (collection, tag) DO UPDATE SET version = excluded.version, "
                "template = excluded.template, body = excluded.body RETURNING serial"
            )
            values = (collection, subject.tag, version + 1, subject.template, subject.body)
            serial = connection.execute(query, values).fetchall()[0][0]
            deleted = [(serial, medium) for medium in subject.delete_photos]
            connection.executemany("DELETE FROM photos WHERE serial = ? AND medium = ?", deleted)
            added = [(serial, medium, photo) for medium, photo in subject.photos.items()]
            connection.executemany("INSERT OR REPLACE INTO photos VALUES (?, ?, ?)", added)
            return True

        if not subject.delete_photos:
            with self._file.write() as connection:
                return work(connection)
        if not self._file.delete(work):
            return False
        self._file.scrub_if_possible()
        return True

    @override
    def delete(self, collection: bytes, version: int, tag: bytes, ledger: LedgerUpdate) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            if not _advance(connection, collection, version, ledger):
                return False
            query = "DELETE FROM subjects WHERE collection = ? AND tag = ? RETURNING serial"
            for (serial,) in connection.execute(query, (collection, tag)).fetchall():
                connection.execute("INSERT INTO deletions VALUES (?, ?, ?)", (collection, version + 1, serial))
            oldest = version + 1 - REMEMBERED
            query = "DELETE FROM deletions WHERE collection = ? AND version <= ?"
            if oldest > 0 and connection.execute(query, (collection, oldest)).rowcount:
                connection.execute("UPDATE collections SET floor = ? WHERE id = ?", (oldest, collection))
            return True

        if not self._file.delete(work):
            return False
        self._file.scrub_if_possible()
        return True

    @override
    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        query = (
            "SELECT photo FROM photos JOIN subjects USING (serial) WHERE serial = ? AND medium = ? AND collection = ?"
        )
        with self._file.connection() as connection:
            row = connection.execute(query, (serial, medium, collection)).fetchone()
        return row[0] if row else None

    @override
    def changes(self, collection: bytes, since: int) -> Changes:
        with self._file.connection() as connection:
            connection.execute("BEGIN")
            state = connection.execute("SELECT version, floor FROM collections WHERE id = ?", (collection,)).fetchone()
            version, floor = state or (since, 0)
            complete = since == 0 or since < floor
            start = 0 if complete else since
            query = "SELECT serial FROM deletions WHERE collection = ? AND version > ?"
            removed = [] if complete else [row[0] for row in connection.execute(query, (collection, start))]
            connection.execute("COMMIT")
        return Changes(version, complete, self._changed(collection, start), removed)

    def _changed(self, collection: bytes, since: int) -> Iterator[SubjectRow]:
        """Yield changed rows step by step; a row that changes meanwhile comes again, later."""
        query = (
            "SELECT tag, serial, version, template FROM subjects "
            "WHERE collection = ? AND version > ? ORDER BY version LIMIT ?"
        )
        while True:
            with self._file.connection() as connection:
                rows = connection.execute(query, (collection, since, STEP)).fetchall()
            for tag, serial, version, template in rows:
                yield SubjectRow(tag, serial, version, template, b"")
            if len(rows) < STEP:
                return
            since = rows[-1][2]

    @override
    def scrub(self) -> None:
        self._file.scrub()

    @override
    def close(self) -> None:
        self._file.close()


def _replaced(connection: sqlite3.Connection, change: RecordChange | None) -> bool:
    """Set a small value if it is still the old one; return whether it was."""
    if change is None:
        return True
    query = "UPDATE records SET value = ? WHERE name = ? AND value = ?"
    return connection.execute(query, (change.new, change.name, change.old)).rowcount > 0


def _advance(connection: sqlite3.Connection, collection: bytes, version: int, ledger: LedgerUpdate) -> bool:
    """Raise the collection's version by one and write its ledger, if it still has this version."""
    query = "UPDATE collections SET version = ?, ledger = ? WHERE id = ? AND version = ?"
    if not connection.execute(query, (version + 1, ledger.index, collection, version)).rowcount:
        return False
    page = (collection, ledger.number, ledger.page)
    connection.execute("INSERT OR REPLACE INTO ledger_pages VALUES (?, ?, ?)", page)
    return True
