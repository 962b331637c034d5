"""Faces by their ids: every face that is stored is found, whoever stored or moved it, and none that is gone."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.crypto.vault import Vault
from service.gallery import NewMedium
from service.gallery.gallery import Gallery
from service.gallery.renaming import move_medium, rename_subject
from service.gallery.stores.sqlite import SqliteStore
from service.http.compat.face_ids import FaceIds
from service.http.compat.stored_faces import face_id
from tests.service.gallery.served import DIMENSION, MODEL, vector

STAFF = "staff"


class CountedStore(SqliteStore):
    """A store that counts the subjects that are read."""

    read = 0

    def row(self, collection, tag):
        self.read += 1
        return super().row(collection, tag)

    def rows(self, collection, after, limit):
        found = super().rows(collection, after, limit)
        self.read += len(found)
        return found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CountedStore]:
    store = CountedStore(tmp_path / "gallery.db")
    yield store
    store.close()


@pytest.fixture
def gallery(store: CountedStore) -> Gallery:
    gallery = Gallery(store, Vault([bytes(32)]))
    gallery.put_collection(STAFF, MODEL, DIMENSION)
    return gallery


def enrol(gallery: Gallery, subject: str, medium: str | None = None, take: int = 1) -> str:
    """Store a face and return its id."""
    identity = medium or str(uuid.uuid4())
    vectors = vector(sum(subject.encode()) % 200, take)[None].astype(np.float32)
    new = NewMedium(identity, vectors, np.ones(1, np.float32))
    gallery.add_media(STAFF, subject, MODEL, [new], create=True)
    return face_id(subject, identity)


def where(found: dict) -> dict[str, str]:
    return {identity: face.subject.id for identity, face in found.items()}


def test_faces_are_found_whoever_stored_them(gallery: Gallery):
    ids = FaceIds()
    ours, theirs = enrol(gallery, "ada", "holiday.jpg"), enrol(gallery, "bob")
    asked = [ours, theirs.upper(), str(uuid.uuid4()), "no id"]
    assert where(ids.find(gallery, STAFF, asked)) == {ours: "ada", theirs: "bob"}
    assert ids.find(gallery, "nowhere", [ours]) == {}
    assert ids.find(gallery, STAFF, []) == {}


def test_what_changed_since_is_known(gallery: Gallery):
    ids = FaceIds()
    first, second = enrol(gallery, "ada"), enrol(gallery, "ada", take=2)
    assert where(ids.find(gallery, STAFF, [first, second])) == {first: "ada", second: "ada"}
    gallery.delete_medium(STAFF, "ada", first)
    third = enrol(gallery, "bob")
    assert where(ids.find(gallery, STAFF, [first, second, third])) == {second: "ada", third: "bob"}
    rename_subject(gallery, STAFF, "ada", "countess")
    assert where(ids.find(gallery, STAFF, [second])) == {second: "countess"}
    bob = gallery.subject(STAFF, "bob")
    move_medium(gallery, STAFF, bob, bob.media[0], "countess")
    assert where(ids.find(gallery, STAFF, [third])) == {third: "countess"}
    gallery.delete_subject(STAFF, "countess")
    assert ids.find(gallery, STAFF, [first, second, third]) == {}


def test_another_collection_of_the_name_has_other_faces(gallery: Gallery):
    ids = FaceIds()
    face = enrol(gallery, "ada")
    assert where(ids.find(gallery, STAFF, [face])) == {face: "ada"}
    gallery.delete_collection(STAFF)
    assert ids.find(gallery, STAFF, [face]) == {}
    gallery.put_collection(STAFF, MODEL, DIMENSION)
    assert ids.find(gallery, STAFF, [face]) == {}
    again = enrol(gallery, "ada", face)
    assert where(ids.find(gallery, STAFF, [again])) == {face: "ada"}


def test_a_look_reads_the_subject_alone(gallery: Gallery, store: CountedStore):
    ids = FaceIds()
    faces = [enrol(gallery, f"p{number}") for number in range(300)]
    ids.find(gallery, STAFF, faces[:1])  # the first look reads the collection
    store.read = 0
    assert where(ids.find(gallery, STAFF, faces[17:18])) == {faces[17]: "p17"}
    assert store.read <= 2
    fresh = enrol(gallery, "new")
    store.read = 0
    assert where(ids.find(gallery, STAFF, [fresh])) == {fresh: "new"}
    assert store.read <= 4
    assert len(ids.find(gallery, STAFF, faces)) == 300
