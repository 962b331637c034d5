"""Subjects that get another name, and media that move between subjects."""

from collections.abc import Callable

import numpy as np
import pytest

from service.crypto.vault import Vault
from service.gallery import Policy
from service.gallery.errors import InvalidName, MediumNotFound, SubjectExists, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.renaming import move_medium, rename_subject
from service.gallery.stores.store import Store
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Clock, Faces


@pytest.fixture
def kept(open_store: Callable[[], Store], clock: Clock) -> Gallery:
    """With an empty collection 'people' that keeps photos."""
    made = Gallery(open_store(), Vault([MASTER]), clock)
    made.put_collection("people", MODEL, DIMENSION, Policy(keep_photos=True))
    return made


def add(gallery: Gallery, faces: Faces, subject: str, medium: str, photo: bytes | None = None) -> None:
    gallery.add_media("people", subject, MODEL, [faces.medium("ada", medium, photo=photo)], create=True)


def test_a_subject_takes_everything_to_its_new_name(kept: Gallery, faces: Faces, clock: Clock):
    add(kept, faces, "ada", "1", b"1")
    clock.now += 60
    add(kept, faces, "ada", "2", b"2")
    kept.put_subject("people", "ada", {"badge": 7}, ttl=1e6)
    clock.now += 60
    before = kept.template("people", "ada", MODEL)
    rename_subject(kept, "people", "ada", "Ada Lovelace")
    with pytest.raises(SubjectNotFound):
        kept.subject("people", "ada")
    renamed = kept.subject("people", "Ada Lovelace")
    assert (dict(renamed.metadata), renamed.ttl) == ({"badge": 7}, 1e6)
    assert {m.id: clock.now - m.added for m in renamed.media} == {"1": 120, "2": 60}
    assert clock.now - renamed.created == 120
    assert np.allclose(kept.template("people", "Ada Lovelace", MODEL), before, atol=1e-6)
    assert kept.photo("people", "Ada Lovelace", "2") == b"2"
    assert [m.subject for m in kept.search("people", MODEL, faces.vector("ada")).matches] == ["Ada Lovelace"]


def test_a_name_that_is_taken_gets_the_media_too_and_keeps_its_metadata(kept: Gallery, faces: Faces):
    add(kept, faces, "ada", "1", b"1")
    add(kept, faces, "countess", "2", b"2")
    kept.put_subject("people", "countess", {"title": "Countess"})
    kept.put_subject("people", "ada", {"badge": 7})
    with pytest.raises(SubjectExists):
        rename_subject(kept, "people", "ada", "countess")
    rename_subject(kept, "people", "ada", "countess", merge=True)
    merged = kept.subject("people", "countess")
    assert (dict(merged.metadata), {m.id for m in merged.media}) == ({"title": "Countess"}, {"1", "2"})
    assert [subject.id for subject in kept.subjects("people").items] == ["countess"]


def test_its_own_name_changes_nothing_and_bad_ones_are_refused(kept: Gallery, faces: Faces):
    add(kept, faces, "ada", "1", b"1")
    rename_subject(kept, "people", "ada", "ada")
    assert len(kept.subject("people", "ada").media) == 1
    with pytest.raises(InvalidName):
        rename_subject(kept, "people", "ada", "a/b")
    with pytest.raises(SubjectNotFound):
        rename_subject(kept, "people", "nobody", "ada")


@pytest.mark.parametrize("photo", [None, b"1"])
def test_a_medium_deleted_meanwhile_is_not_brought_back(kept: Gallery, faces: Faces, photo: bytes | None):
    add(kept, faces, "ada", "1", photo)
    read = kept.subject("people", "ada")
    kept.delete_medium("people", "ada", "1")
    with pytest.raises(MediumNotFound):
        move_medium(kept, "people", read, read.media[0], "bob")
    assert [subject.media for subject in kept.subjects("people").items] in ([()], [(), ()])
    assert kept.search("people", MODEL, faces.vector("ada")).matches == []
