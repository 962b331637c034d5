"""What may go wrong while people are enrolled: the gallery is never inconsistent, on either store."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model.identity import templates
from service.crypto.vault import Vault
from service.errors import ServiceError
from service.gallery import NewMedium
from service.gallery.errors import StorageFull, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.indexes.exact import Index
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import Store
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces
from tests.service.queue.processes import redis_server

pytestmark = pytest.mark.slow


def sound(gallery: Gallery) -> dict[str, set[str]]:
    """Subjects with their media; every template is the pool of its media, and search sees just those with one."""
    found = {}
    page, cursor = [], None
    while True:
        part = gallery.subjects("people", cursor)
        page += part.items
        if (cursor := part.cursor) is None:
            break
    for subject in page:
        found[subject.id] = {medium.id for medium in subject.media}
        assert (subject.template is None) is (not subject.media)
        if subject.template is not None:
            media = [templates.Medium(m.vectors, m.quality) for m in subject.media]
            np.testing.assert_allclose(subject.template, templates.pool(media).vector, atol=1e-6)
    probe = np.ones(DIMENSION, np.float32)
    matched = gallery.search("people", MODEL, probe, 10_000).matches
    assert {match.subject for match in matched} == {name for name, media in found.items() if media}
    for match in matched:
        assert match.similarity == pytest.approx(
            gallery.verify("people", match.subject, MODEL, probe).similarity, abs=1e-6
        )
    assert gallery.collection("people").subjects == len(found)
    return found


def galleries(open_store: Callable[[], Store], count: int) -> list[Gallery]:
    """As in so many processes, with an empty collection."""
    made = [Gallery(open_store(), Vault([MASTER])) for _ in range(count)]
    made[0].put_collection("people", MODEL, DIMENSION)
    return made


def test_two_writers_on_one_subject_lose_nothing(open_store: Callable[[], Store]):
    both = galleries(open_store, 2)
    vectors = {number: Faces(np.random.default_rng(number)).medium("ada", f"m{number}") for number in range(24)}
    with ThreadPoolExecutor(6) as pool:
        work = [
            pool.submit(both[number % 2].add_media, "people", "ada", MODEL, [medium], create=True)
            for number, medium in vectors.items()
        ]
        for done in work:
            done.result()
    for gallery in both:
        assert sound(gallery) == {"ada": {f"m{number}" for number in range(24)}}


def test_searching_while_others_enrol(open_store: Callable[[], Store], faces: Faces):
    writer, reader = galleries(open_store, 2)
    writer.add_media("people", "first", MODEL, [faces.medium("first", "m")], create=True)
    probe, media = faces.vector("first"), [faces.medium(f"p{number}", "m") for number in range(60)]
    sizes, stop = [], threading.Event()

    def search() -> None:
        while not stop.is_set():
            found = reader.search("people", MODEL, probe, 100).matches
            assert found[0].subject == "first"
            assert found == sorted(found, key=lambda match: -match.similarity)
            sizes.append(len(found))

    with ThreadPoolExecutor(2) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        for number, medium in enumerate(media):
            writer.add_media("people", f"p{number}", MODEL, [medium], create=True)
            if number % 3 == 0:
                writer.delete_subject("people", f"p{number}")
        stop.set()
        for done in searching:
            done.result()
    assert sizes
    assert len(sound(reader)) == 41
    assert sound(writer) == sound(reader)


def test_deleting_while_others_enrol(open_store: Callable[[], Store], faces: Faces):
    enrolling, deleting = galleries(open_store, 2)
    media = [faces.medium("ada", f"m{number}") for number in range(40)]
    enrolling.put_subject("people", "ada")
    outcomes: list[str] = []

    def enrol() -> None:
        for medium in media:
            try:
                subject = enrolling.add_media("people", "ada", MODEL, [medium])
                outcomes.append(f"media {len(subject.media)}")
            except SubjectNotFound:
                outcomes.append("gone")

    def delete() -> None:
        time.sleep(0.02)
        deleting.delete_subject("people", "ada")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(enrol), pool.submit(delete)]:
            done.result()
    # a deleted subject never comes back: once gone, always gone
    gone = outcomes.index("gone") if "gone" in outcomes else len(outcomes)
    assert set(outcomes[gone:]) <= {"gone"}
    assert sound(enrolling) == sound(deleting) == {}


def test_a_crash_between_the_template_and_the_index(open_store: Callable[[], Store], faces: Faces, monkeypatch):
    (gallery,) = galleries(open_store, 1)
    gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "m")], create=True)
    gallery.search("people", MODEL, faces.vector("ada"))
    gallery.add_media("people", "bob", MODEL, [faces.medium("bob", "m")], create=True)
    with monkeypatch.context() as patch:

        def crash(*_: object) -> Index:
            raise MemoryError

        patch.setattr(Index, "replaced", crash)
        with pytest.raises(MemoryError):
            gallery.search("people", MODEL, faces.vector("bob"))
    assert gallery.search("people", MODEL, faces.vector("bob"), 1).matches[0].subject == "bob"
    assert sound(gallery) == sound(Gallery(open_store(), Vault([MASTER]))) == {"ada": {"m"}, "bob": {"m"}}


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_process_that_is_killed_leaves_nothing_half_done(kind: str, tmp_path: Path):
    with redis_server() as server:

        def open_store() -> Store:
            return RedisStore(server.url) if kind == "redis" else SqliteStore(tmp_path / "gallery.db")

        gallery = galleries(open_store, 1)[0]

        def enrol_for_ever() -> None:
            own, people = Gallery(open_store(), Vault([MASTER])), Faces(np.random.default_rng(os.getpid()))
            for number in range(1_000_000):
                name = f"p{number % 30}"
                own.add_media("people", name, MODEL, [people.medium(name, f"m{number % 7}", 3)], create=True)
                if number % 11 == 0:
                    own.delete_subject("people", name)

        for pause in (0.3, 0.35, 0.4):
            victim = multiprocessing.get_context("fork").Process(target=enrol_for_ever)
            victim.start()
            end = time.monotonic() + 30
            while not gallery.collection("people").subjects and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(pause)
            os.kill(victim.pid or 0, signal.SIGKILL)
            victim.join()
            assert sound(gallery)
            assert sound(Gallery(open_store(), Vault([MASTER]))) == sound(gallery)
            gallery.add_media("people", "after", MODEL, [Faces().medium("after", "m")], create=True)
        gallery.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_full_disk_loses_nothing_and_deleting_makes_room(kind: str, tmp_path: Path, faces: Faces):
    with redis_server("--maxmemory", "6mb", "--maxmemory-policy", "noeviction") as server:
        store = RedisStore(server.url) if kind == "redis" else SqliteStore(tmp_path / "gallery.db", max_pages=120)
        gallery = galleries(lambda: store, 1)[0]
        enrolled: dict[str, set[str]] = {}
        with pytest.raises(StorageFull):  # noqa: PT012
            for number in range(10_000):
                name = f"p{number}"
                gallery.add_media("people", name, MODEL, [faces.medium(name, "m", frames=100)], create=True)
                enrolled[name] = {"m"}
        assert sound(gallery) == enrolled
        with pytest.raises(StorageFull):
            gallery.add_media("people", "p0", MODEL, [faces.medium("p0", f"n{i}", frames=1000) for i in range(40)])
        assert sound(gallery) == enrolled
        for name in list(enrolled)[: len(enrolled) // 4]:
            gallery.delete_subject("people", name)
            del enrolled[name]
        assert _enrols_within(20, gallery, faces.medium("new", "m", frames=100))
        assert sound(gallery) == enrolled | {"new": {"m"}}
        gallery.close()


def _enrols_within(seconds: float, gallery: Gallery, medium: NewMedium) -> bool:
    """Redis lets go of the refused command's buffer some seconds later."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            gallery.add_media("people", "new", MODEL, [medium], create=True)
        except StorageFull:
            time.sleep(0.2)
        else:
            return True
    return False


def test_a_store_that_goes_away_is_an_error_and_comes_back(tmp_path: Path, faces: Faces):
    with redis_server() as server:
        gallery = galleries(lambda: RedisStore(server.url), 1)[0]
    with pytest.raises(ServiceError) as refusal:
        gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "m")], create=True)
    assert refusal.value.code == "storage_unavailable"
    gallery.close()
