"""Attacks by somebody who writes to the store without the master key: nobody is rolled back, undeleted or prolonged."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
import pytest
import redis

from service.crypto.vault import Vault, VaultLocked
from service.gallery import NewMedium, Policy
from service.gallery.errors import SubjectDamaged, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.stores.store import Store
from service.gallery.upkeep import purge
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Clock, Faces


class Attacker(Protocol):
    """Copies what is stored and puts parts of it back."""

    def copy(self) -> object:
        """Return everything as it is now."""

    def put_back(self, copy: object, *parts: str) -> None:
        """Put these parts of the store back: subjects, photos, ledger_pages, collections."""


class SqliteAttacker:
    """Edits the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def copy(self) -> dict[str, list[tuple]]:
        with sqlite3.connect(self.path) as connection:
            tables = ("subjects", "photos", "ledger_pages", "collections", "deletions", "records")
            return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}

    def put_back(self, copy: dict[str, list[tuple]], *parts: str) -> None:
        with sqlite3.connect(self.path) as connection:
            for name in parts:
                connection.execute(f"DELETE FROM {name}")
                for row in copy[name]:
                    marks = ", ".join("?" * len(row))
                    connection.execute(f"INSERT INTO {name} VALUES ({marks})", row)


class RedisAttacker:
    """Sets keys."""

    NAMES: ClassVar = {
        "subjects": ("rows", "tags", "serials", "changes"),
        "ledger_pages": ("ledger",),
        "photos": ("photos",),
    }

    def __init__(self, client: redis.Redis) -> None:
        self.client = client

    def copy(self) -> dict[bytes, bytes]:
        return {key: self.client.dump(key) for key in self.client.scan_iter("face:gallery:*")}

    def put_back(self, copy: dict[bytes, bytes], *parts: str) -> None:
        for key, value in copy.items():
            tail = key.removeprefix(b"face:gallery:")[16:].split(b":")
            kind = tail[1].decode() if len(tail) > 1 else "collection"
            if any(kind in self.NAMES.get(part, ("collection",)) for part in parts):
                self.client.restore(key, 0, value, replace=True)


@pytest.fixture
def attacker(open_store: Callable[[], Store], request: pytest.FixtureRequest, tmp_path: Path) -> Attacker:
    open_store()
    path = tmp_path / "gallery.db"
    return SqliteAttacker(path) if path.exists() else RedisAttacker(request.getfixturevalue("shared_redis").client)


@pytest.fixture
def enrolled(open_store: Callable[[], Store], clock: Clock, faces: Faces) -> Callable[[], Gallery]:
    """Opens a gallery of ada, bob and eve, as a new process would."""

    def start() -> Gallery:
        return Gallery(open_store(), Vault([MASTER]), clock)

    gallery = start()
    gallery.put_collection("people", MODEL, DIMENSION, Policy(keep_photos=True))
    for name in ("ada", "bob", "eve"):
        media = [faces.medium(name, "m", photo=b"photo of " + name.encode())]
        gallery.add_media("people", name, MODEL, media, create=True)
    return start


@pytest.mark.parametrize("parts", [("subjects",), ("subjects", "ledger_pages")])
def test_an_older_version_of_a_person_is_not_taken(
    attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces, parts: tuple[str, ...]
):
    old = attacker.copy()
    enrolled().add_media("people", "ada", MODEL, [faces.medium("mallory", "m")])
    attacker.put_back(old, *parts)
    gallery = enrolled()
    for call in (
        lambda: gallery.subject("people", "ada"),
        lambda: gallery.verify("people", "ada", MODEL, faces.vector("ada")),
        lambda: gallery.put_subject("people", "ada", {"x": 1}),
        lambda: gallery.photo("people", "ada", "m"),
    ):
        with pytest.raises(SubjectDamaged):
            call()
    assert "ada" not in {match.subject for match in gallery.search("people", MODEL, faces.vector("ada")).matches}


def test_one_damaged_person_is_named_and_others_stay(attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces):
    old = attacker.copy()
    enrolled().put_subject("people", "ada", {"role": "none"})
    attacker.put_back(old, "subjects")
    gallery = enrolled()
    page = gallery.subjects("people")
    assert {subject.id for subject in page.items} == {"bob", "eve"}
    assert page.damaged == ["ada"]
    assert gallery.search("people", MODEL, faces.vector("bob")).matches[0].subject == "bob"
    assert gallery.delete_subject("people", "ada").subjects == 1
    assert gallery.subjects("people").damaged == []
    assert gallery.put_subject("people", "ada")[1]


def test_a_deleted_person_does_not_come_back(attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces):
    old = attacker.copy()
    enrolled().delete_subject("people", "ada")
    attacker.put_back(old, "subjects", "photos")
    gallery = enrolled()
    with pytest.raises(SubjectDamaged):
        gallery.subject("people", "ada")
    assert "ada" not in {match.subject for match in gallery.search("people", MODEL, faces.vector("ada")).matches}
    assert gallery.subjects("people").damaged == ["ada"]


def test_nobody_lives_longer_than_their_time(attacker: Attacker, enrolled: Callable[[], Gallery], clock: Clock):
    """Expiry stands in the sealed ledger only: there is nothing to edit, and an older ledger does not fit."""
    old = attacker.copy()
    enrolled().put_subject("people", "ada", ttl=100)
    clock.now += 50
    after = attacker.copy()
    clock.now += 51
    attacker.put_back(old, "ledger_pages")
    with pytest.raises(SubjectDamaged):
        enrolled().subject("people", "ada")
    attacker.put_back(after, "ledger_pages")
    gallery = enrolled()
    with pytest.raises(SubjectNotFound):
        gallery.subject("people", "ada")
    assert [expiry.subject for expiry in purge(gallery)] == ["ada"]


def test_a_ledger_cannot_be_put_back_without_everything(
    attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces
):
    """An older index with its version: everybody changed since then is missing from it, which is noticed."""
    old = attacker.copy()
    gallery = enrolled()
    gallery.delete_subject("people", "ada")
    gallery.put_subject("people", "bob", {"x": 1})
    if isinstance(attacker, SqliteAttacker):
        with sqlite3.connect(attacker.path) as connection:
            version, ledger = next((row[4], row[5]) for row in old["collections"])
            connection.execute("UPDATE collections SET version = ?, ledger = ?", (version, ledger))
    else:
        attacker.put_back(old, "collection")
    with pytest.raises(SubjectDamaged):
        enrolled().subject("people", "bob")


def test_a_backup_that_was_restored_under_a_running_process_is_followed(
    attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces
):
    """Putting everything back is what a restoration does; nothing that the process remembers may stand against it."""
    old = attacker.copy()
    running = enrolled()
    for name in ("ada", "bob", "eve"):
        running.add_media("people", name, MODEL, [faces.medium(f"other {name}", "m")])
    assert running.search("people", MODEL, faces.vector("other ada")).matches[0].similarity > 0.9
    parts = ("subjects", "photos", "ledger_pages", "collections", "collection", "deletions")
    attacker.put_back(old, *(part for part in parts if isinstance(attacker, RedisAttacker) or part in old))
    assert running.search("people", MODEL, faces.vector("ada")).matches[0].subject == "ada"
    for name in ("eve", "bob", "ada"):
        running.put_subject("people", name, {"restored": True})
    assert {s.id for s in running.subjects("people").items} == {"ada", "bob", "eve"}
    assert running.search("people", MODEL, faces.vector("ada")).matches[0].similarity > 0.9


def test_an_older_photo_is_not_taken_for_the_kept_one(
    attacker: Attacker, enrolled: Callable[[], Gallery], faces: Faces
):
    old = attacker.copy()
    gallery = enrolled()
    gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "m", photo=b"a newer photo")])
    attacker.put_back(old, "photos")
    with pytest.raises(SubjectDamaged):
        enrolled().photo("people", "ada", "m")


def test_what_is_moved_to_another_person_does_not_open(enrolled: Callable[[], Gallery], tmp_path: Path):
    path = tmp_path / "gallery.db"
    gallery = enrolled()
    if not path.exists():
        pytest.skip("by SQL")
    tags = {name: gallery.encrypted.require("people").cipher.tag(name) for name in ("ada", "bob")}
    with sqlite3.connect(path) as connection:
        query = "SELECT template, body FROM subjects WHERE tag = ?"
        template, body = connection.execute(query, (tags["ada"],)).fetchone()
        connection.execute("UPDATE subjects SET template = ?, body = ? WHERE tag = ?", (template, body, tags["bob"]))
    with pytest.raises(SubjectDamaged):
        enrolled().subject("people", "bob")
    assert enrolled().subject("people", "ada").id == "ada"


def test_a_collection_under_another_name_is_noticed(enrolled: Callable[[], Gallery], tmp_path: Path):
    path = tmp_path / "gallery.db"
    gallery = enrolled()
    if not path.exists():
        pytest.skip("by SQL")
    gallery.put_collection("guests", MODEL, DIMENSION)
    with sqlite3.connect(path) as connection:
        query = "UPDATE collections SET tag = ? WHERE tag = ?"
        tags = [gallery.encrypted.name_tag(name) for name in ("guests", "people")]
        connection.execute(query, (b"x", tags[0]))
        connection.execute(query, (tags[0], tags[1]))
    with pytest.raises(VaultLocked):
        enrolled().collection("guests")
    page = enrolled().collections()
    assert (page.items, page.damaged) == ([], ["guests", "people"])


def test_templates_of_one_person_in_two_collections_have_nothing_in_common(
    enrolled: Callable[[], Gallery], faces: Faces
):
    gallery = enrolled()
    vector = np.stack([faces.vector("zoe")])
    stored = []
    for collection in ("one", "two"):
        gallery.put_collection(collection, MODEL, DIMENSION)
        gallery.add_media(collection, "zoe", MODEL, [NewMedium("m", vector, np.ones(1, np.float32))], create=True)
        gallery.add_media(collection, "bob", MODEL, [faces.medium("bob", "m")], create=True)
        opened = gallery.encrypted.require(collection)
        row = gallery.encrypted.store.row(opened.id, opened.cipher.tag("zoe"))
        stored.append(gallery.encrypted.stored_template(opened, row))
    unit = vector[0] / np.linalg.norm(vector[0])
    for one, other in ((stored[0], stored[1]), (stored[0], unit), (stored[1], unit)):
        assert not np.allclose(one, other, atol=0.05)
    probe = faces.vector("zoe")
    exact = float(unit @ probe / np.linalg.norm(probe))
    for collection in ("one", "two"):
        assert gallery.verify(collection, "zoe", MODEL, probe).similarity == pytest.approx(exact, abs=1e-5)
        assert gallery.search(collection, MODEL, probe).matches[0].similarity == pytest.approx(exact, abs=1e-5)
