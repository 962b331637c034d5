"""Backup while the service writes, restored on another machine with the key; export and import beyond 64 MB."""

import multiprocessing
import os
import resource
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from service.crypto.vault import Vault, VaultLocked
from service.gallery import NewMedium, Policy
from service.gallery.backup import NotABackup, back_up, restore
from service.gallery.errors import StorageUnavailable
from service.gallery.gallery import Gallery
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.transfer import export, import_
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces

pytestmark = pytest.mark.slow

PASSPHRASE = "correct horse"


def opened(path: Path, master: bytes = MASTER) -> Gallery:
    return Gallery(SqliteStore(path), Vault([master]))


def filled(path: Path, faces: Faces, photo_bytes: int = 10, photos: int = 1) -> Gallery:
    gallery = opened(path)
    gallery.put_collection("people", MODEL, DIMENSION, Policy(keep_photos=True))
    for name in ("ada", "bob", "eve"):
        for number in range(photos):
            media = [faces.medium(name, f"m{number}", photo=os.urandom(photo_bytes))]
            gallery.add_media("people", name, MODEL, media, create=True)
    return gallery


def test_a_backup_is_restored_on_another_machine_with_the_key(tmp_path: Path, faces: Faces):
    here, there = tmp_path / "here" / "gallery.db", tmp_path / "there" / "gallery.db"
    gallery = filled(here, faces)
    pages: list[tuple[int, int]] = []
    size = back_up(here, tmp_path / "copy.db", lambda done, total: pages.append((done, total)))
    assert size == (tmp_path / "copy.db").stat().st_size
    assert pages[-1][0] == pages[-1][1] > 0
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    gallery.delete_collection("people")
    assert restore(tmp_path / "copy.db", there, Vault([MASTER])) == 1
    assert sorted(path.name for path in there.parent.iterdir()) == ["gallery.db"]
    other = opened(there)
    assert other.search("people", MODEL, faces.vector("ada")).matches[0].subject == "ada"
    assert len(other.photo("people", "ada", "m0")) == 10
    other.put_subject("people", "ada", {"restored": True})
    other.close()
    gallery.close()


def test_a_backup_is_one_moment_of_a_gallery_in_use(tmp_path: Path, faces: Faces):
    path = tmp_path / "gallery.db"
    gallery, stop = filled(path, faces), threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            gallery.put_subject("people", "ada", {"n": number})
            gallery.put_subject("people", "bob", {"n": number})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            back_up(path, tmp_path / f"copy{number}.db")
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        place = tmp_path / f"restored{number}" / "gallery.db"
        restore(tmp_path / f"copy{number}.db", place, Vault([MASTER]))
        copy = opened(place)
        ada, bob = (copy.subject("people", name).metadata.get("n", 0) for name in ("ada", "bob"))
        assert ada - bob in (0, 1)
        copy.close()
    gallery.close()


def test_a_restoration_replaces_nothing_and_takes_nothing_else(tmp_path: Path, faces: Faces):
    path, copy = tmp_path / "gallery.db", tmp_path / "copy.db"
    with pytest.raises(StorageUnavailable):
        back_up(path, copy)
    filled(path, faces).close()
    back_up(path, copy)
    with pytest.raises(FileExistsError):
        back_up(path, copy)
    with pytest.raises(FileExistsError):
        restore(copy, path, Vault([MASTER]))
    elsewhere = tmp_path / "elsewhere" / "gallery.db"
    with pytest.raises(VaultLocked):
        restore(copy, elsewhere, Vault([b"x" * 32]))
    data = copy.read_bytes()
    for content in (b"", b"no database", data[: len(data) // 2], data[:4096] + bytes(len(data) - 4096)):
        (tmp_path / "bad.db").write_bytes(content)
        with pytest.raises((NotABackup, VaultLocked)):
            restore(tmp_path / "bad.db", elsewhere, Vault([MASTER]))
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE records (name, value)")
    with pytest.raises(NotABackup):
        restore(tmp_path / "other.db", elsewhere, Vault([MASTER]))
    elsewhere.with_name("gallery.db-wal").write_bytes(b"of another gallery")
    with pytest.raises(FileExistsError):
        restore(copy, elsewhere, Vault([MASTER]))
    assert [p.name for p in elsewhere.parent.iterdir()] == ["gallery.db-wal"]


@pytest.mark.timeout(300)
def test_a_collection_of_any_size_is_exported_and_imported_in_little_memory(tmp_path: Path, faces: Faces):
    """180 MB of photos, more than 64 MB of one person, by a process that may take 400 MB of addresses more."""
    gallery = filled(tmp_path / "gallery.db", faces, 3_000_000, 20)
    with (tmp_path / "people.faces").open("wb") as file:
        assert export(gallery, "people", PASSPHRASE, file) == 3
    assert (tmp_path / "people.faces").stat().st_size > 180_000_000
    child = multiprocessing.get_context("spawn").Process(target=import_with_a_limit, args=(str(tmp_path),))
    child.start()
    child.join(250)
    assert child.exitcode == 0
    other = opened(tmp_path / "other.db")
    for name in ("ada", "bob", "eve"):
        for number in (0, 19):
            assert other.photo("again", name, f"m{number}") == gallery.photo("people", name, f"m{number}")
    assert other.search("again", MODEL, faces.vector("bob")).matches[0].subject == "bob"
    other.close()
    gallery.close()


def import_with_a_limit(folder: str) -> None:
    """Import in a process of its own."""
    gallery = opened(Path(folder) / "other.db")
    gallery.put_collection("warm", MODEL, DIMENSION)
    gallery.add_media(
        "warm", "x", MODEL, [NewMedium("m", np.ones((1, DIMENSION), np.float32), np.ones(1, np.float32))], create=True
    )
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20), used + (400 << 20)))
    counted: list[int] = []
    with (Path(folder) / "people.faces").open("rb") as file:
        import_(gallery, file, PASSPHRASE, "again", counted.append)
    assert counted == [1, 2, 3]
    gallery.close()
