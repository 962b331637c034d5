"""Export, import and merge: whole or not at all, unreadable without the passphrase."""

import io

import msgspec
import numpy as np
import pytest

from service.crypto.vault import Vault
from service.gallery import Policy, errors, export_file, transfer
from service.gallery.gallery import Gallery
from service.gallery.stores.sqlite import SqliteStore
from tests.service.gallery.people import DIMENSION, MODEL

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
        np.testing.assert_allclose(ours.template, theirs.template, atol=1e-6)
        assert (ours.metadata, ours.expires, ours.created) == (theirs.metadata, theirs.expires, theirs.created)
        assert other.photo("album", f"Person {i}", "m") == b"photo %d" % i
    assert other.search("album", MODEL, faces.vector("p7")).matches[0].subject == "Person 7"
    other.close()


def test_an_import_takes_a_free_name_only(album, clock):
    data = exported(album)
    with pytest.raises(errors.CollectionExists):
        transfer.import_(album, io.BytesIO(data), WORDS)
    assert transfer.import_(album, io.BytesIO(data), WORDS, name="copy").subjects == 30
    with pytest.raises(errors.InvalidName):
        transfer.import_(album, io.BytesIO(data), WORDS, name="")


def test_an_empty_collection_moves_too(gallery):
    file = io.BytesIO()
    assert transfer.export(gallery, "people", WORDS, file) == 0
    file.seek(0)
    assert transfer.import_(gallery, file, WORDS, "again").subjects == 0
    with pytest.raises(errors.CollectionNotFound):
        transfer.export(gallery, "none", WORDS, io.BytesIO())


def test_a_file_of_version_1_is_read(album, monkeypatch, faces):
    """Its subjects hold all their photos, and say of each medium only whether there is one."""
    monkeypatch.setattr(export_file, "MAGIC", export_file.MAGIC_1)
    file = io.BytesIO()
    writer = export_file.FrameWriter(file, WORDS)
    writer.begin(album.encrypted.require("album").meta.packed())
    vectors = np.stack([faces.vector("ada")])
    media = [
        ["m", vectors.tobytes(), np.ones(1, np.float32).tobytes(), 5.0, True, True],
        ["n", vectors.tobytes(), np.ones(1, np.float32).tobytes(), 5.0, True, False],
    ]
    packed = msgspec.msgpack.encode(["ada", '{"badge": 1}', 1.0, 2.0, None, media])
    writer.add(msgspec.msgpack.encode([[packed, None, {"m": b"photo of ada"}]]))
    writer.end()
    monkeypatch.undo()
    file.seek(0)
    assert transfer.import_(album, file, WORDS, "old").subjects == 1
    assert album.photo("old", "ada", "m") == b"photo of ada"
    assert [m.photo for m in album.subject("old", "ada").media] == [True, False]
    assert album.search("old", MODEL, faces.vector("ada")).matches[0].metadata == {"badge": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"metadata": '{"a": "\\ud800"}'},
        {"metadata": '{"a": NaN}'},
        {"metadata": "[" * 200_000},
        {"id": "a/b"},
        {"created": float("nan")},
        {"ttl": -1.0},
        {"value": 1e38},
        {"value": float("nan")},
    ],
)
def test_a_hostile_file_stores_nothing_that_cannot_be_returned(gallery, store, change):
    """Whoever knows the passphrase may put anything in."""
    fields = {"id": "ada", "metadata": "{}", "created": 1.0, "ttl": None, "value": 1.0} | change
    vector = np.full((1, DIMENSION), fields["value"], np.float32)
    media = [["m", vector.tobytes(), np.ones(1, np.float32).tobytes(), 5.0, True, None]]
    packed = msgspec.msgpack.encode([fields["id"], fields["metadata"], fields["created"], 2.0, fields["ttl"], media])
    file = io.BytesIO()
    writer = export_file.FrameWriter(file, WORDS)
    writer.begin(gallery.encrypted.require("people").meta.packed())
    writer.add(msgspec.msgpack.encode([["subject", packed, None]]))
    writer.end()
    file.seek(0)
    before = len(store.all_collections())
    with pytest.raises(errors.InvalidExport):
        transfer.import_(gallery, file, WORDS, "hostile")
    assert len(store.all_collections()) == before


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
        with pytest.raises(errors.InvalidExport):
            transfer.import_(album, io.BytesIO(content), WORDS, "copy")
        assert len(store.all_collections()) == before, what
    with pytest.raises(errors.InvalidExport, match="passphrase"):
        transfer.import_(album, io.BytesIO(data), "another passphrase", "copy")
    with pytest.raises(errors.InvalidExport, match="8 characters"):
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
        np.testing.assert_allclose(next(m for m in ada.media if m.id == "a").vectors, own.vectors, atol=1e-6)
        assert gallery.search("people", MODEL, faces.vector("Alan")).matches[0].subject == "Alan"
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
    with pytest.raises(errors.ModelMismatch):
        transfer.merge(gallery, "other", "people")
    with pytest.raises(errors.CollectionNotFound):
        transfer.merge(gallery, "none", "people")
