"""Export, import and merge: whole or not at all, unreadable without the passphrase."""

import io

import numpy as np
import pytest

from service import gallery as types
from service.gallery import Policy, transfer
from service.gallery.gallery import Gallery
from service.gallery.sqlite import SqliteStore
from service.vault import Vault
from tests.identity.people import DIMENSION, MODEL

WORDS = "correct horse"


@pytest.fixture
def album(gallery, faces, monkeypatch):
    """Thirty people with photos, exported in several frames."""
    monkeypatch.setattr(transfer, "FRAME_BYTES", 2000)
    gallery.put_collection("album", MODEL, DIMENSION, Policy(keep_photos=True, reject_below=0.2))
    for i in range(30):
        media = [faces.medium(f"p{i}", "m", frames=2, photo=b"photo %d" % i), faces.medium(f"p{i}", "n")]
        gallery.add_media("album", f"Person {i}", MODEL, media, create=True)
    gallery.put_subject("album", "Person 0", {"badge": 1}, ttl=60)
    return gallery


def exported(gallery: Gallery) -> bytes:
    file = io.BytesIO()
    assert transfer.export(gallery, "album", WORDS, file) == 30
    return file.getvalue()


def test_a_collection_moves_to_another_gallery(album, tmp_path, faces, clock):
    data = exported(album)
    assert b"Person" not in data
    assert b"photo" not in data
    other = Gallery(SqliteStore(tmp_path / "other.db"), Vault([b"o" * 32]), clock)
    made = transfer.import_(other, io.BytesIO(data), WORDS)
    assert made == album.collection("album")
    for i in range(30):
        ours, theirs = (g.subject("album", f"Person {i}") for g in (album, other))
        assert theirs.media[0].photo
        np.testing.assert_array_equal(ours.template, theirs.template)
        assert (ours.metadata, ours.expires, ours.created) == (theirs.metadata, theirs.expires, theirs.created)
        assert other.photo("album", f"Person {i}", "m") == b"photo %d" % i
    assert other.search("album", MODEL, faces.vector("p7"))[0].subject == "Person 7"
    other.close()


def test_an_import_takes_a_free_name_only(album, clock):
    data = exported(album)
    with pytest.raises(types.CollectionExists):
        transfer.import_(album, io.BytesIO(data), WORDS)
    assert transfer.import_(album, io.BytesIO(data), WORDS, name="copy").subjects == 30
    with pytest.raises(types.InvalidName):
        transfer.import_(album, io.BytesIO(data), WORDS, name="")


def test_an_empty_collection_moves_too(gallery):
    file = io.BytesIO()
    assert transfer.export(gallery, "people", WORDS, file) == 0
    file.seek(0)
    assert transfer.import_(gallery, file, WORDS, "again").subjects == 0
    with pytest.raises(types.CollectionNotFound):
        transfer.export(gallery, "none", WORDS, io.BytesIO())


def test_damage_is_noticed_and_leaves_nothing(album, store):
    data = exported(album)
    before = len(store.all_collections())
    frames = _frames(data)
    assert len(frames) > 4
    start = data[:24]
    damaged = {
        "empty": b"",
        "other file": b"PK" + data[2:],
        "cut in a frame": data[:-5],
        "last frame missing": start + b"".join(frames[:-1]),
        "only the head": start + frames[0],
        "swapped": start + b"".join([frames[0], frames[2], frames[1], *frames[3:]]),
        "one bit": data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        "too long": data + frames[-1],
        "huge frame": start + b"\xff\xff\xff\xff" + data[28:],
    }
    for what, content in damaged.items():
        with pytest.raises(types.InvalidExport):
            transfer.import_(album, io.BytesIO(content), WORDS, "copy")
        assert len(store.all_collections()) == before, what
    with pytest.raises(types.InvalidExport, match="passphrase"):
        transfer.import_(album, io.BytesIO(data), "another passphrase", "copy")
    with pytest.raises(types.InvalidExport, match="8 characters"):
        transfer.export(album, "album", "short", io.BytesIO())


def _frames(data: bytes) -> list[bytes]:
    frames, at = [], 24
    while at < len(data):
        size = 4 + int.from_bytes(data[at : at + 4], "big")
        frames.append(data[at : at + size])
        at += size
    return frames


def test_merging_joins_media_and_can_be_done_again(gallery, faces):
    gallery.put_collection("more", MODEL, DIMENSION)
    gallery.add_media("people", "Ada", MODEL, [faces.medium("Ada", "a")], create=True)
    gallery.put_subject("people", "Ada", {"badge": 1, "old": True})
    gallery.add_media("more", "Ada", MODEL, [faces.medium("Ada", "b"), faces.medium("Ada", "a")], create=True)
    gallery.put_subject("more", "Ada", {"badge": 2, "new": True})
    gallery.add_media("more", "Alan", MODEL, [faces.medium("Alan", "c")], create=True)
    own = gallery.subject("people", "Ada").media[0]
    for _ in range(2):
        assert transfer.merge(gallery, "more", "people") == 2
        ada = gallery.subject("people", "Ada")
        assert {m.id for m in ada.media} == {"a", "b"}
        assert ada.metadata == {"badge": 1, "old": True, "new": True}
        np.testing.assert_array_equal(next(m for m in ada.media if m.id == "a").vectors, own.vectors)
        assert gallery.search("people", MODEL, faces.vector("Alan"))[0].subject == "Alan"
    assert gallery.collection("more").subjects == 2


def test_merging_takes_photos_where_they_are_kept(gallery, faces):
    for name, keep in (("album", True), ("bare", False), ("other", True)):
        gallery.put_collection(name, MODEL, DIMENSION, Policy(keep_photos=keep))
    gallery.add_media("album", "Ada", MODEL, [faces.medium("Ada", "m", photo=b"one")], create=True)
    for target in ("bare", "other"):
        transfer.merge(gallery, "album", target)
    assert gallery.photo("other", "Ada", "m") == b"one"
    assert not gallery.subject("bare", "Ada").media[0].photo
    gallery.add_media("other", "Ada", MODEL, [faces.medium("Ada", "m", photo=b"two")])
    transfer.merge(gallery, "album", "other")
    assert gallery.photo("other", "Ada", "m") == b"two"


def test_merging_other_models_or_nothing_is_refused(gallery):
    gallery.put_collection("other", "b" * 64, DIMENSION)
    with pytest.raises(types.ModelMismatch):
        transfer.merge(gallery, "other", "people")
    with pytest.raises(types.CollectionNotFound):
        transfer.merge(gallery, "none", "people")
