"""Search by the vector sets of a real Redis 8: what it finds, what it forgets, what happens when it is not there."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from service.config import Settings
from service.gallery import NewMedium, StorageUnavailable
from service.gallery.gallery import Gallery
from service.gallery.indices import Indices
from service.gallery.sqlite import SqliteStore
from service.gallery.upkeep import purge, rotate
from service.vault import Vault
from tests.identity.people import DIMENSION, MASTER, MODEL, Clock, Faces, RedisServer, redis_8, redis_server
from tests.identity.served import people_served, photo


@pytest.fixture
def server(vector_redis: RedisServer) -> RedisServer:
    vector_redis.client.flushall()
    return vector_redis


def opened(path: Path, url: str, clock: Clock | None = None) -> Gallery:
    """As in a process of its own."""
    return Gallery(SqliteStore(path / "gallery.db"), Vault([MASTER]), clock or Clock(), vector_sets=url)


@pytest.fixture
def gallery(tmp_path: Path, server: RedisServer) -> Iterator[Gallery]:
    made = opened(tmp_path, server.url)
    made.put_collection("people", MODEL, DIMENSION)
    yield made
    made.close()


def enrol(gallery: Gallery, people: int, seed: int = 0) -> np.ndarray:
    """So many people with one medium each; their vectors."""
    vectors = np.random.default_rng(seed).normal(size=(people, 1, DIMENSION)).astype(np.float32)
    for number, vector in enumerate(vectors):
        medium = NewMedium("m", vector, np.ones(1, np.float32))
        gallery.add_media("people", f"p{number}", MODEL, [medium], create=True)
    return vectors[:, 0]


def elements(server: RedisServer, gallery: Gallery) -> int:
    handle = gallery.sealed.find("people")
    return server.client.execute_command("VCARD", b"face:vectors:" + handle.id)


def test_it_finds_what_the_exact_search_finds(gallery: Gallery, tmp_path: Path):
    vectors = enrol(gallery, 500)
    exact = Gallery(SqliteStore(tmp_path / "gallery.db"), Vault([MASTER]), Clock())
    probes = vectors[:40] + 0.3 * np.random.default_rng(1).normal(size=(40, DIMENSION))
    found = [[m.subject for m in gallery.search("people", MODEL, probe, 10)] for probe in probes]
    wanted = [[m.subject for m in exact.search("people", MODEL, probe, 10)] for probe in probes]
    assert [names[0] for names in found] == [names[0] for names in wanted]
    assert sum(len(set(a) & set(b)) for a, b in zip(found, wanted, strict=True)) >= 396
    match, other = gallery.search("people", MODEL, probes[0], 1)[0], exact.search("people", MODEL, probes[0], 1)[0]
    assert match.similarity == pytest.approx(other.similarity, abs=1e-6), "of the sealed template, not the rounded one"
    exact.close()


def test_a_deleted_subject_and_a_deleted_medium_leave_the_vector_set_at_once(gallery: Gallery, server: RedisServer):
    vectors = enrol(gallery, 20)
    assert gallery.warm("people") == 20
    assert elements(server, gallery) == 20
    gallery.delete_subject("people", "p3")
    assert elements(server, gallery) == 19
    gallery.delete_medium("people", "p4", "m")
    assert elements(server, gallery) == 18
    assert {"p3", "p4"}.isdisjoint(m.subject for m in gallery.search("people", MODEL, vectors[3], 20))
    gallery.delete_collection("people")
    assert server.client.dbsize() == 0


def test_nothing_is_copied_until_somebody_searches(gallery: Gallery, server: RedisServer):
    enrol(gallery, 3)
    gallery.delete_subject("people", "p0")
    assert server.client.dbsize() == 0


def test_names_and_sealed_bytes_never_go_there(gallery: Gallery, server: RedisServer):
    gallery.add_media(
        "people", "Ada Lovelace", MODEL, [NewMedium("m", np.ones((1, DIMENSION), np.float32), np.ones(1, np.float32))],
        create=True,
    )  # fmt: skip
    gallery.warm("people")
    everything = b"".join(key + server.client.dump(key) for key in server.client.scan_iter())
    assert b"Ada" not in everything
    assert b"people" not in everything


def test_what_ends_by_itself_and_an_old_key_are_gone_after_upkeep(tmp_path: Path, server: RedisServer):
    clock = Clock()
    gallery = opened(tmp_path, server.url, clock)
    gallery.put_collection("people", MODEL, DIMENSION)
    enrol(gallery, 5)
    gallery.put_subject("people", "p0", ttl=10)
    gallery.warm("people")
    clock.now += 11
    purge(gallery)
    assert elements(server, gallery) == 4
    rotate(gallery.sealed, "people")
    assert gallery.warm("people") == 4
    purge(gallery)
    sets = [key for key in server.client.scan_iter() if server.client.type(key) == b"vectorset"]
    assert len(sets) == 1
    gallery.close()


def test_a_lost_or_damaged_vector_set_is_built_again(gallery: Gallery, server: RedisServer):
    vectors = enrol(gallery, 30)
    for harm in (server.client.flushall, lambda: remove_behind_its_back(server, gallery)):
        assert gallery.search("people", MODEL, vectors[7], 1)[0].subject == "p7"
        harm()
    assert gallery.search("people", MODEL, vectors[7], 1)[0].subject == "p7"


def remove_behind_its_back(server: RedisServer, gallery: Gallery) -> None:
    handle = gallery.sealed.find("people")
    serial = gallery.sealed.row(handle, "p7").serial
    assert server.client.execute_command("VREM", b"face:vectors:" + handle.id, serial) == 1


def test_many_processes_may_build_it_while_others_enrol_and_delete(
    gallery: Gallery, tmp_path: Path, server: RedisServer, faces: Faces
):
    vectors = enrol(gallery, 200)
    others = [opened(tmp_path, server.url) for _ in range(4)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(6):
                name = f"new {number} {turn}"
                others[number].add_media("people", name, MODEL, [faces.medium(name, "m")], create=True)
                assert others[number].search("people", MODEL, vectors[5], 1)[0].subject == "p5"
                if turn % 2:
                    others[number].delete_subject("people", name)
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert gallery.warm("people") == elements(server, gallery) == gallery.collection("people").subjects == 212
    for other in others:
        other.close()


def test_a_builder_that_lost_its_turn_changes_nothing(gallery: Gallery, server: RedisServer):
    """It was silent for too long, and another process has caught up meanwhile."""
    vectors = enrol(gallery, 10)
    handle, nearest = gallery.sealed.find("people"), gallery.nearest
    late = gallery.sealed.store.changes(handle.id, 0)
    rows = list(late.rows)
    gallery.delete_subject("people", "p2")
    assert gallery.warm("people") == 9
    late = type(late)(late.version, late.whole, iter(rows), late.removed)
    assert nearest._apply(handle, "not the one whose turn it is", late) is False
    assert elements(server, gallery) == 9
    assert "p2" not in {m.subject for m in gallery.search("people", MODEL, vectors[2], 10)}


def test_while_it_is_away_search_says_so_and_a_deletion_is_made_good_later(tmp_path: Path):
    program = redis_8()
    with redis_server(program=program) as server:
        gallery = opened(tmp_path, server.url)
        gallery.put_collection("people", MODEL, DIMENSION)
        vectors = enrol(gallery, 4)
        gallery.warm("people")
        server.client.config_set("maxmemory", 1)
        gallery.add_media("people", "late", MODEL, [NewMedium("m", vectors[:1], np.ones(1, np.float32))], create=True)
        with pytest.raises(Exception, match="memory left"):
            gallery.search("people", MODEL, vectors[0])
        gallery.delete_subject("people", "p1")
        server.client.config_set("maxmemory", 0)
        purge(gallery)
        assert elements(server, gallery) == 4
    with pytest.raises(StorageUnavailable, match="cannot be reached"):
        gallery.search("people", MODEL, vectors[0])
    assert gallery.delete_subject("people", "p2").subjects == 1
    assert gallery.delete_collection("people").subjects == 3
    gallery.close()


def test_an_older_redis_is_refused_in_words(tmp_path: Path, shared_redis: RedisServer):
    if int(shared_redis.client.info()["redis_version"].split(".")[0]) >= 8:
        pytest.skip("this machine's redis-server has vector sets")
    gallery = opened(tmp_path, shared_redis.url)
    gallery.put_collection("people", MODEL, DIMENSION)
    enrol(gallery, 1)
    with pytest.raises(StorageUnavailable, match="Redis 8"):
        gallery.search("people", MODEL, np.ones(DIMENSION, np.float32))
    gallery.close()


def test_it_is_off_unless_asked_for_and_never_beside_searchers(tmp_path: Path):
    assert Settings().vector_sets is None
    gallery = Gallery(SqliteStore(tmp_path / "gallery.db"), Vault([MASTER]))
    assert isinstance(gallery.nearest, Indices)
    gallery.close()
    with pytest.raises(ValidationError, match="SEARCHERS"):
        Settings(vector_sets="redis://127.0.0.1:6380/0", searchers=3)
    with pytest.raises(ValidationError, match="URL"):
        Settings(vector_sets="127.0.0.1:6380")


def test_over_http(tmp_path: Path, server: RedisServer):
    with people_served(Settings(data_dir=tmp_path, vector_sets=server.url)) as served:
        served.client.put("/v1/collections/staff")
        for person in (7, 8):
            served.client.post(f"/v1/collections/staff/subjects/p{person}/media?create=true", content=photo(person))
        found = served.client.post("/v1/collections/staff/search", content=photo(7, take=2)).json()
        assert [m["subject"] for m in found["matches"]] == ["p7", "p8"]
        assert [m["matched"] for m in found["matches"]] == [True, False]
        assert sum(server.client.type(key) == b"vectorset" for key in server.client.scan_iter()) == 1
        served.client.delete("/v1/collections/staff")
        assert server.client.dbsize() == 0
