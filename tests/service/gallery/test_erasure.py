"""What stays behind: nothing in clear ever, not even sealed bytes after a deletion. The files' bytes are searched."""

import io
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from service.crypto.vault import Vault
from service.gallery import Policy
from service.gallery.gallery import Gallery
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import Store
from service.gallery.upkeep import purge, rotate
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces
from tests.service.queue.processes import redis_server

NAME, NOTE, PHOTO = "Ada Augusta Lovelace", "born in London", b"\xff\xd8 the bytes of her photo"


def filled(store: Store, faces: Faces) -> tuple[Gallery, list[bytes]]:
    """A gallery with her among others, and everything about her that must not be found in clear."""
    gallery = Gallery(store, Vault([MASTER]))
    gallery.put_collection("secret society", MODEL, DIMENSION, Policy(keep_photos=True))
    for i in range(40):
        gallery.add_media("secret society", f"other {i}", MODEL, [faces.medium(f"o{i}", "m")], create=True)
    gallery.put_subject("secret society", NAME, {"note": NOTE})
    medium = faces.medium(NAME, "her holiday", frames=3, photo=PHOTO)
    subject = gallery.add_media("secret society", NAME, MODEL, [medium])
    words = [NAME.encode(), NOTE.encode(), PHOTO, b"her holiday", b"secret society", b"other 7"]
    floats = [subject.template, *medium.vectors]
    return gallery, words + [v.astype(kind).tobytes()[:16] for v in floats for kind in (np.float32, np.float16)]


def sealed_bytes(gallery: Gallery) -> list[bytes]:
    """Pieces of what the store holds of her."""
    handle = gallery.encrypted.find("secret society")
    row = gallery.encrypted.store.row(handle.id, handle.cipher.tag(NAME))
    photo = gallery.encrypted.store.photo(handle.id, row.serial, handle.cipher.tag("her holiday"))
    return [row.template[:24], row.template[-24:], row.body[12:36], row.body[-24:], photo[:24]]


def found(folder: Path, pieces: list[bytes]) -> list[str]:
    content: dict[str, bytes] = {}
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # Redis deletes its temporary files meanwhile
            if path.is_file():
                content[path.name] = path.read_bytes()
    assert content
    return [f"{name}: {piece!r}" for name, data in content.items() for piece in pieces if piece in data]


def test_sqlite_never_holds_a_name_and_forgets_all_bytes(tmp_path, faces):
    gallery, clear = filled(SqliteStore(tmp_path / "gallery.db"), faces)
    sealed = sealed_bytes(gallery)
    assert found(tmp_path, clear) == []
    assert found(tmp_path, sealed), "the search would find it"
    gallery.delete_subject("secret society", NAME)
    assert found(tmp_path, clear + sealed) == []
    assert gallery.collection("secret society").subjects == 40
    gallery.close()
    assert found(tmp_path, clear + sealed) == []


def test_sqlite_forgets_a_replaced_template_and_a_medium(tmp_path, faces):
    gallery, _ = filled(SqliteStore(tmp_path / "gallery.db"), faces)
    sealed = sealed_bytes(gallery)
    gallery.delete_medium("secret society", NAME, "her holiday")
    assert found(tmp_path, sealed) == []
    gallery.close()


def test_sqlite_forgets_a_whole_collection_with_its_key_and_shrinks(tmp_path, faces):
    gallery, clear = filled(SqliteStore(tmp_path / "gallery.db"), faces)
    gallery.encrypted.store.scrub()  # out of the log, into the file
    sealed, size = sealed_bytes(gallery), (tmp_path / "gallery.db").stat().st_size
    key = gallery.encrypted.find("secret society").row.key
    gallery.delete_collection("secret society")
    assert found(tmp_path, [*clear, *sealed, key]) == []
    assert (tmp_path / "gallery.db").stat().st_size < size
    gallery.close()


def test_a_new_key_leaves_nothing_of_the_old(tmp_path, faces):
    gallery, clear = filled(SqliteStore(tmp_path / "gallery.db"), faces)
    sealed, key = sealed_bytes(gallery), gallery.encrypted.find("secret society").row.key
    rotate(gallery.encrypted, "secret society")
    assert found(tmp_path, [*clear, *sealed, key]) == []
    assert gallery.search("secret society", MODEL, faces.vector(NAME)).matches[0].subject == NAME
    gallery.close()


def test_a_backup_without_its_key_is_noise(tmp_path, faces):
    """Crypto-erase: the file as it was, but for the wrapped key."""
    store = SqliteStore(tmp_path / "gallery.db")
    gallery, _ = filled(store, faces)
    row = gallery.encrypted.find("secret society").row
    assert store.set_key(row.id, row.key, Vault([MASTER]).wrap(b"0" * 32, row.id))
    with pytest.raises(Exception, match="do not decrypt"):
        gallery.collection("secret society")
    gallery.close()


@pytest.mark.parametrize(
    "options", [("--appendonly", "yes"), ("--save", "3600 1")], ids=["append-only file", "snapshot"]
)
def test_redis_forgets_after_its_file_is_rewritten(options, faces):
    with redis_server(*options) as server:
        gallery, clear = filled(RedisStore(server.url), faces)
        if options[0] == "--save":
            server.client.save()
        sealed = sealed_bytes(gallery)
        assert found(server.folder, clear) == []
        assert found(server.folder, sealed), "the search would find it"
        gallery.delete_subject("secret society", NAME)
        purge(gallery)
        end = time.monotonic() + 20
        while found(server.folder, clear + sealed):
            assert time.monotonic() < end
            time.sleep(0.05)
        assert gallery.collection("secret society").subjects == 40
        memory = io.BytesIO()
        for key in server.client.scan_iter():
            memory.write(key + server.client.dump(key))
        assert not [piece for piece in clear if piece in memory.getvalue()]
        gallery.close()
