"""Changes of several steps, between two of which another process changes the same subject."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typing_extensions import override

from service.crypto.vault import Vault
from service.gallery.errors import SubjectExists
from service.gallery.gallery import Gallery
from service.gallery.renaming import rename_subject
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import LedgerUpdate, SubjectWrite
from service.http.compat import users
from service.http.compat.errors import SubjectExists as UserExists
from service.http.compat.stored_faces import faces_of
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces


class InterruptedStore(SqliteStore):
    """Lets another process act right before the next change of a subject, or the next deletion of one."""

    before_put: Callable[[], object] | None = None
    before_delete: Callable[[], object] | None = None

    @override
    def put(self, collection: bytes, version: int, subject: SubjectWrite, ledger: LedgerUpdate) -> bool:
        action, self.before_put = self.before_put, None
        if action:
            action()
        return super().put(collection, version, subject, ledger)

    @override
    def delete(self, collection: bytes, version: int, tag: bytes, ledger: LedgerUpdate) -> bool:
        action, self.before_delete = self.before_delete, None
        if action:
            action()
        return super().delete(collection, version, tag, ledger)


@pytest.fixture
def store(tmp_path: Path) -> InterruptedStore:
    return InterruptedStore(tmp_path / "gallery.db")


@pytest.fixture
def here(store: InterruptedStore) -> Gallery:
    made = Gallery(store, Vault([MASTER]))
    made.put_collection("people", MODEL, DIMENSION)
    return made


@pytest.fixture
def elsewhere(here: Gallery, tmp_path: Path) -> Gallery:
    """The same gallery in another process."""
    return Gallery(SqliteStore(tmp_path / "gallery.db"), Vault([MASTER]))


def add(gallery: Gallery, faces: Faces, medium: str) -> None:
    gallery.add_media("people", "ada", MODEL, [faces.medium("ada", medium)], create=True)


def test_what_is_enrolled_while_its_subject_is_renamed_moves_too(
    here: Gallery, elsewhere: Gallery, store: InterruptedStore, faces: Faces
):
    add(here, faces, "1")
    store.before_delete = lambda: add(elsewhere, faces, "2")
    rename_subject(here, "people", "ada", "countess")
    assert {medium.id for medium in here.subject("people", "countess").media} == {"1", "2"}
    assert [subject.id for subject in here.subjects("people").items] == ["countess"]


def test_of_two_who_take_a_name_at_once_one_is_told_that_it_is_taken(
    here: Gallery, elsewhere: Gallery, store: InterruptedStore, faces: Faces
):
    """Two people would become one otherwise."""
    add(here, faces, "1")
    elsewhere.put_subject("people", "bob")
    store.before_put = lambda: rename_subject(elsewhere, "people", "bob", "countess")
    with pytest.raises(SubjectExists):
        rename_subject(here, "people", "ada", "countess")
    assert len(here.subject("people", "ada").media) == 1


def test_a_subject_that_gets_a_face_while_its_last_one_is_deleted_stays(
    here: Gallery, elsewhere: Gallery, store: InterruptedStore, faces: Faces
):
    add(here, faces, "1")
    [face] = faces_of(here.subject("people", "ada"))
    store.before_delete = lambda: add(elsewhere, faces, "2")
    assert users.delete_face(here, "people", face)
    assert {medium.id for medium in here.subject("people", "ada").media} == {"2"}


def test_external_ids_that_are_given_at_once_are_both_kept(
    here: Gallery, elsewhere: Gallery, store: InterruptedStore, faces: Faces
):
    add(here, faces, "1")
    add(here, faces, "2")
    first, second = faces_of(here.subject("people", "ada"))
    store.before_put = lambda: users.with_external_id(elsewhere, "people", second, "second.jpg")
    users.with_external_id(here, "people", first, "first.jpg")
    ids = [users.external_id(face) for face in faces_of(here.subject("people", "ada"))]
    assert ids == ["first.jpg", "second.jpg"]


def test_of_two_who_make_a_user_one_is_told_that_there_is_one(
    here: Gallery, elsewhere: Gallery, store: InterruptedStore
):
    store.before_put = lambda: users.make_user(elsewhere, "people", "ada")
    with pytest.raises(UserExists):
        users.make_user(here, "people", "ada")
