"""Backup of a gallery in one file while the service runs, and its restoration: SQLite's online backup.

A backup holds what the gallery holds: encrypted rows. It is of no use without the master key, which is not in it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from service.crypto.vault import Vault
from service.gallery.encrypted import EncryptedStore
from service.gallery.errors import StorageFull, StorageUnavailable
from service.gallery.stores.sqlite import SqliteStore

PAGES = 1024
"""Pages of 4 KiB copied at once; writers go on between two steps."""


class NotABackup(ValueError):
    """The file is not a backup of a gallery, or is damaged."""


def back_up(database: Path, target: Path, progress: Callable[[int, int], object] = lambda _, __: None) -> int:
    """Copy a gallery that may be in use to a new file, readable by its owner only; return its bytes.

    The copy is the gallery at one moment. `progress` is called with the pages copied and all pages. Raises
    FileExistsError, StorageUnavailable when there is no gallery, StorageFull.
    """
    if not database.exists():
        raise StorageUnavailable("there is no gallery to back up")
    partial = _new_file(target)
    try:
        with closing(_connect(database, read_only=True)) as source, closing(_connect(partial)) as copy:
            source.backup(copy, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        _check(partial)
        os.link(partial, target)  # unlike a rename it replaces nothing
    except sqlite3.Error as error:
        raise _translated(error) from error
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def restore(
    backup: Path, database: Path, vault: Vault, progress: Callable[[int, int], object] = lambda _, __: None
) -> int:
    """Put a backup in the place of a gallery that does not exist; return the number of collections.

    The vault must decrypt it. Raises FileExistsError when there is a gallery, NotABackup, VaultLocked, StorageFull.
    """
    for suffix in ("", "-wal", "-shm"):  # SQLite would take the log of another gallery for this one's
        existing = database.with_name(database.name + suffix)
        if existing.exists():
            raise FileExistsError(f"there is a gallery already: move {existing} away first")
    _check(backup)
    partial = _new_file(database)
    try:
        with closing(_connect(backup, read_only=True)) as source, closing(_connect(partial)) as copy:
            source.backup(copy, pages=PAGES, progress=lambda _, remaining, total: progress(total - remaining, total))
            copy.execute("PRAGMA journal_mode = DELETE")
        collections = _decrypt(partial, vault)
        os.link(partial, database)
    except sqlite3.Error as error:
        raise _translated(error) from error
    finally:
        for suffix in ("", "-wal", "-shm", ".reserve"):
            partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return collections


def _decrypt(database: Path, vault: Vault) -> int:
    """Return how many collections a gallery has that the vault decrypts. Raises VaultLocked."""
    store = SqliteStore(database)
    try:
        encrypted = EncryptedStore(store, vault)
        rows = store.all_collections()
        for row in rows:
            encrypted.open_collection(row)
        store.scrub()
        return sum(row.tag is not None for row in rows)
    finally:
        store.close()


def _check(database: Path) -> None:
    """Raise NotABackup for a file that is not a whole gallery."""
    try:
        with closing(_connect(database, read_only=True)) as connection:
            result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            connection.execute("SELECT ledger FROM collections LIMIT 1").fetchone()
            root = connection.execute("SELECT 1 FROM records WHERE name = 'vault/root'").fetchone()
    except sqlite3.DatabaseError as error:
        raise NotABackup(f"{database} is not a backup of a gallery, or is damaged") from error
    if result != "ok" or root is None:
        raise NotABackup(f"{database} is not a backup of a gallery, or is damaged")


def _new_file(target: Path) -> Path:
    """Make the file that becomes `target` once it is whole. Raises FileExistsError."""
    if target.exists():
        raise FileExistsError(f"there is a file already at {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return partial


def _connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
    return sqlite3.connect(uri, uri=True, timeout=10)


def _translated(error: sqlite3.Error) -> StorageFull | StorageUnavailable:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return StorageFull("there is no room for the copy of the gallery")
    return StorageUnavailable("the gallery's file cannot be read or the copy cannot be written")
