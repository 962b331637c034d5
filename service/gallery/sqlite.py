"""The store in one SQLite file: write-ahead log, freed bytes overwritten, the log emptied after a deletion."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection as Several
from collections.abc import Iterator, Mapping
from pathlib import Path

from service.gallery.sqlite_file import SqliteFile
from service.gallery.store import Changes, CollectionRow, SubjectRow

REMEMBERED = 100_000
"""Deletions of a collection that others can catch up with; who is further behind reads everything anew."""
STEP = 4096
"""Rows read at once."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS collections (
    id BLOB PRIMARY KEY, tag BLOB UNIQUE, key BLOB NOT NULL, head BLOB NOT NULL,
    version INTEGER NOT NULL, floor INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS subjects (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, collection BLOB NOT NULL REFERENCES collections ON DELETE CASCADE,
    tag BLOB NOT NULL, version INTEGER NOT NULL, expires REAL, template BLOB NOT NULL, body BLOB NOT NULL,
    UNIQUE (collection, tag));
CREATE UNIQUE INDEX IF NOT EXISTS subject_versions ON subjects (collection, version);
CREATE INDEX IF NOT EXISTS subject_expiry ON subjects (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS deletions (
    collection BLOB NOT NULL REFERENCES collections ON DELETE CASCADE, version INTEGER NOT NULL,
    serial INTEGER NOT NULL, PRIMARY KEY (collection, version)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS photos (
    serial INTEGER NOT NULL REFERENCES subjects ON DELETE CASCADE, medium BLOB NOT NULL, photo BLOB NOT NULL,
    PRIMARY KEY (serial, medium));
"""
_ROW = "tag, serial, version, expires, template, body"
_COLLECTION = "id, tag, key, head, version"


class SqliteStore:
    """One file, any number of threads and processes of one machine.

    Raises StorageUnavailable when the file cannot be opened. `max_pages` bounds the file's size, for tests.
    """

    def __init__(self, path: Path, max_pages: int | None = None) -> None:
        self._file = SqliteFile(path, _SCHEMA, max_pages)

    # -- small values -------------------------------------------------------------------------------------------------

    def record(self, name: str) -> bytes | None:
        """See Store."""
        with self._file.connection() as connection:
            row = connection.execute("SELECT value FROM records WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def records(self, prefix: str) -> dict[str, bytes]:
        """See Store."""
        with self._file.connection() as connection:
            query = "SELECT name, value FROM records WHERE substr(name, 1, ?) = ?"
            return dict(connection.execute(query, (len(prefix), prefix)).fetchall())

    def put_record(self, name: str, value: bytes, only_new: bool = False) -> bool:
        """See Store."""
        how = "IGNORE" if only_new else "REPLACE"
        with self._file.write() as connection:
            return connection.execute(f"INSERT OR {how} INTO records VALUES (?, ?)", (name, value)).rowcount > 0  # noqa: S608

    def delete_record(self, name: str) -> bool:
        """See Store."""
        with self._file.write() as connection:
            return connection.execute("DELETE FROM records WHERE name = ?", (name,)).rowcount > 0

    # -- collections --------------------------------------------------------------------------------------------------

    def create(self, row: CollectionRow) -> bool:
        """See Store."""
        values = (row.id, row.tag, row.key, row.head, row.version)
        with self._file.write() as connection:
            done = connection.execute(
                f"INSERT OR IGNORE INTO collections ({_COLLECTION}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608
                values,
            )
            return done.rowcount > 0

    def collection(self, tag: bytes) -> CollectionRow | None:
        """See Store."""
        with self._file.connection() as connection:
            row = connection.execute(f"SELECT {_COLLECTION} FROM collections WHERE tag = ?", (tag,)).fetchone()  # noqa: S608
        return CollectionRow(*row) if row else None

    def collections(self, after: bytes, limit: int) -> list[CollectionRow]:
        """See Store."""
        query = f"SELECT {_COLLECTION} FROM collections WHERE tag > ? ORDER BY tag LIMIT ?"  # noqa: S608
        with self._file.connection() as connection:
            return [CollectionRow(*row) for row in connection.execute(query, (after, limit))]

    def all_collections(self) -> list[CollectionRow]:
        """See Store."""
        with self._file.connection() as connection:
            return [CollectionRow(*r) for r in connection.execute(f"SELECT {_COLLECTION} FROM collections")]  # noqa: S608

    def publish(self, collection: bytes, tag: bytes, replacing: CollectionRow | None = None) -> bool:
        """See Store."""
        with self._file.write() as connection:
            if replacing is not None:
                same = (replacing.id, replacing.version, replacing.key)
                gone = connection.execute("DELETE FROM collections WHERE id = ? AND version = ? AND key = ?", same)
                if not gone.rowcount:
                    return False
            done = connection.execute("UPDATE OR IGNORE collections SET tag = ? WHERE id = ?", (tag, collection))
            if not done.rowcount:
                connection.rollback()
                return False
        if replacing is not None:
            self._file.scrub_if_possible()
        return True

    def set_key(self, collection: bytes, old: bytes, new: bytes) -> bool:
        """See Store."""
        with self._file.write() as connection:
            values = (new, collection, old)
            return connection.execute("UPDATE collections SET key = ? WHERE id = ? AND key = ?", values).rowcount > 0

    def delete_collection(self, collection: bytes) -> bool:
        """See Store."""
        with self._file.write() as connection:
            done = connection.execute("DELETE FROM collections WHERE id = ?", (collection,)).rowcount > 0
        self._file.scrub_if_possible()
        return done

    def count(self, collection: bytes) -> int:
        """See Store."""
        query = "SELECT count(*) FROM subjects INDEXED BY subject_versions WHERE collection = ?"
        with self._file.connection() as connection:
            return int(connection.execute(query, (collection,)).fetchone()[0])

    # -- subjects -----------------------------------------------------------------------------------------------------

    def row(self, collection: bytes, tag: bytes) -> SubjectRow | None:
        """See Store."""
        query = f"SELECT {_ROW} FROM subjects WHERE collection = ? AND tag = ?"  # noqa: S608
        with self._file.connection() as connection:
            row = connection.execute(query, (collection, tag)).fetchone()
        return SubjectRow(*row) if row else None

    def rows(self, collection: bytes, after: bytes, limit: int) -> list[SubjectRow]:
        """See Store."""
        query = f"SELECT {_ROW} FROM subjects WHERE collection = ? AND tag > ? ORDER BY tag LIMIT ?"  # noqa: S608
        with self._file.connection() as connection:
            return [SubjectRow(*row) for row in connection.execute(query, (collection, after, limit))]

    def rows_by_serial(self, collection: bytes, serials: Several[int]) -> list[SubjectRow]:
        """See Store."""
        query = f"SELECT {_ROW} FROM subjects WHERE serial = ? AND collection = ?"  # noqa: S608
        with self._file.connection() as connection:
            found = [connection.execute(query, (serial, collection)).fetchone() for serial in serials]
        return [SubjectRow(*row) for row in found if row]

    def put(
        self, collection: bytes, row: SubjectRow, photos: Mapping[bytes, bytes], drop_photos: Several[bytes] = ()
    ) -> int | None:
        """See Store."""
        with self._file.write() as connection:
            version = self._next_version(connection, collection)
            serial = None if version is None else self._put_row(connection, collection, version, row)
            if serial is None:
                connection.rollback()
                return None
            dropped = [(serial, medium) for medium in drop_photos]
            connection.executemany("DELETE FROM photos WHERE serial = ? AND medium = ?", dropped)
            kept = [(serial, medium, photo) for medium, photo in photos.items()]
            connection.executemany("INSERT OR REPLACE INTO photos VALUES (?, ?, ?)", kept)
        if drop_photos:
            self._file.scrub_if_possible()
        return version

    @staticmethod
    def _put_row(connection: sqlite3.Connection, collection: bytes, version: int, row: SubjectRow) -> int | None:
        """The subject's serial, None when it is not as it was read."""
        values = (version, row.expires, row.template, row.body, collection, row.tag)
        if row.version:
            query = (
                "UPDATE subjects SET version = ?, expires = ?, template = ?, body = ? "
                "WHERE collection = ? AND tag = ? AND version = ? RETURNING serial"
            )
            rows = connection.execute(query, (*values, row.version)).fetchall()
        else:
            query = (
                "INSERT OR IGNORE INTO subjects (version, expires, template, body, collection, tag) "
                "VALUES (?, ?, ?, ?, ?, ?) RETURNING serial"
            )
            rows = connection.execute(query, values).fetchall()
        return int(rows[0][0]) if rows else None

    def delete(self, collection: bytes, tag: bytes, version: int | None = None) -> bool:
        """See Store."""
        with self._file.write() as connection:
            query = "DELETE FROM subjects WHERE collection = ? AND tag = ? AND version = ifnull(?, version)"
            rows = connection.execute(f"{query} RETURNING serial", (collection, tag, version)).fetchall()
            if not rows:
                return False
            now = self._next_version(connection, collection)
            assert now is not None
            connection.execute("INSERT INTO deletions VALUES (?, ?, ?)", (collection, now, rows[0][0]))
            forgotten = "DELETE FROM deletions WHERE collection = ? AND version <= ?"
            if now > REMEMBERED and connection.execute(forgotten, (collection, now - REMEMBERED)).rowcount:
                floor = "UPDATE collections SET floor = ? WHERE id = ?"
                connection.execute(floor, (now - REMEMBERED, collection))
        self._file.scrub_if_possible()
        return True

    def photo(self, collection: bytes, serial: int, medium: bytes) -> bytes | None:
        """See Store."""
        query = (
            "SELECT photo FROM photos JOIN subjects USING (serial) WHERE serial = ? AND medium = ? AND collection = ?"
        )
        with self._file.connection() as connection:
            row = connection.execute(query, (serial, medium, collection)).fetchone()
        return row[0] if row else None

    def changes(self, collection: bytes, since: int) -> Changes:
        """See Store."""
        with self._file.connection() as connection:
            connection.execute("BEGIN")
            state = connection.execute("SELECT version, floor FROM collections WHERE id = ?", (collection,)).fetchone()
            version, floor = state or (since, 0)
            whole = since == 0 or since < floor
            where = (collection, 0 if whole else since)
            removed = connection.execute("SELECT serial FROM deletions WHERE collection = ? AND version > ?", where)
            gone = [] if whole else [serial for (serial,) in removed]
            connection.execute("COMMIT")
        return Changes(version, whole, self._changed(*where), gone)

    def _changed(self, collection: bytes, since: int) -> Iterator[SubjectRow]:
        """In steps, so that long catching-up holds no transaction; what changes meanwhile comes again, later."""
        query = (
            "SELECT tag, serial, version, expires, template FROM subjects "
            "WHERE collection = ? AND version > ? ORDER BY version LIMIT ?"
        )
        while True:
            with self._file.connection() as connection:
                rows = connection.execute(query, (collection, since, STEP)).fetchall()
            for tag, serial, version, expires, template in rows:
                yield SubjectRow(tag, serial, version, expires, template, b"")
            if len(rows) < STEP:
                return
            since = rows[-1][2]

    def expired(self, now: float, limit: int) -> list[tuple[bytes, SubjectRow]]:
        """See Store."""
        query = f"SELECT collection, {_ROW} FROM subjects WHERE expires <= ? ORDER BY expires LIMIT ?"  # noqa: S608
        with self._file.connection() as connection:
            return [(row[0], SubjectRow(*row[1:])) for row in connection.execute(query, (now, limit))]

    def scrub(self) -> None:
        """See Store."""
        self._file.scrub()

    def close(self) -> None:
        """See Store."""
        self._file.close()

    @staticmethod
    def _next_version(connection: sqlite3.Connection, collection: bytes) -> int | None:
        query = "UPDATE collections SET version = version + 1 WHERE id = ? RETURNING version"
        rows = connection.execute(query, (collection,)).fetchall()
        return int(rows[0][0]) if rows else None
