"""Redis lost its data under running processes: what is stored from then on all find, now and after their restart."""

import io
from collections.abc import Callable, Iterator

import pytest

from service.crypto.vault import Vault
from service.gallery.errors import CollectionNotFound
from service.gallery.gallery import Gallery
from service.gallery.stores.redis import RedisStore
from service.gallery.transfer import export, import_
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces
from tests.service.queue.processes import RedisServer

Opened = Callable[[], Gallery]


@pytest.fixture
def start(shared_redis: RedisServer) -> Iterator[Opened]:
    """Another process's gallery, over a Redis that is empty at first."""
    shared_redis.client.flushall()
    opened: list[Gallery] = []

    def begun() -> Gallery:
        opened.append(Gallery(RedisStore(shared_redis.url), Vault([MASTER])))
        return opened[-1]

    yield begun
    for gallery in opened:
        gallery.close()


def enrol(gallery: Gallery, faces: Faces, collection: str, subject: str) -> None:
    gallery.put_collection(collection, MODEL, DIMENSION)
    gallery.add_media(collection, subject, MODEL, [faces.medium(subject, "m")], create=True)


def nearest(gallery: Gallery, faces: Faces, collection: str, subject: str) -> str:
    return gallery.search(collection, MODEL, faces.vector(subject), 1).matches[0].subject


def test_who_is_enrolled_afterwards_is_there_after_a_restart(start: Opened, shared_redis: RedisServer, faces: Faces):
    first, second = start(), start()
    enrol(first, faces, "staff", "ada")
    shared_redis.client.flushall()
    with pytest.raises(CollectionNotFound):
        second.subject("staff", "ada")
    enrol(first, faces, "staff", "bob")
    for gallery in (first, second, start()):
        assert nearest(gallery, faces, "staff", "bob") == "bob"


def test_a_process_that_starts_between_is_followed(start: Opened, shared_redis: RedisServer, faces: Faces):
    old = start()
    enrol(old, faces, "staff", "ada")
    shared_redis.client.flushall()
    new = start()
    enrol(new, faces, "guests", "eve")
    enrol(old, faces, "staff", "bob")
    for gallery in (old, new, start()):
        assert nearest(gallery, faces, "staff", "bob") == "bob"
        assert nearest(gallery, faces, "guests", "eve") == "eve"


def test_what_is_imported_afterwards_is_there_after_a_restart(start: Opened, shared_redis: RedisServer, faces: Faces):
    old, file = start(), io.BytesIO()
    enrol(old, faces, "staff", "ada")
    export(old, "staff", "a passphrase", file)
    shared_redis.client.flushall()
    file.seek(0)
    import_(old, file, "a passphrase")
    assert nearest(start(), faces, "staff", "ada") == "ada"
    assert nearest(old, faces, "staff", "ada") == "ada"


def test_messages_of_a_process_that_started_later_are_opened(start: Opened, shared_redis: RedisServer):
    old = start()
    shared_redis.client.flushall()
    new = start()
    assert old.encrypted.decrypt(new.encrypted.encrypt(b"probe", b"search"), b"search") == b"probe"
    assert new.encrypted.decrypt(old.encrypted.encrypt(b"found", b"found"), b"found") == b"found"
