"""Three searchers, each with a third of the gallery, over a real Redis: one search asks them all."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import numpy as np
import pytest

from service.config import Settings
from service.crypto.vault import Vault, VaultLocked, master_keys_from_file
from service.gallery import WHOLE, NewMedium, Part
from service.gallery.errors import CollectionNotFound, ModelMismatch
from service.gallery.gallery import Gallery
from service.gallery.searchers import PREFIX, ScatteredSearch, Searcher, SearcherMissing
from service.gallery.stores.redis import RedisStore
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces
from tests.service.gallery.served import people_served, photo
from tests.service.queue.processes import RedisServer

pytestmark = pytest.mark.slow

PARTS = 3


def opened(url: str, part: Part = WHOLE) -> Gallery:
    """As in a process of its own."""
    return Gallery(RedisStore(url), Vault([MASTER]), part=part)


@contextmanager
def searching(url: str, part: Part, master: bytes = MASTER) -> Iterator[None]:
    """A searcher with its own connections."""
    stop = threading.Event()
    gallery = Gallery(RedisStore(url), Vault([master]), part=part)
    thread = threading.Thread(target=Searcher(gallery, url).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        gallery.close()


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    shared_redis.client.flushall()
    return shared_redis


@pytest.fixture
def whole(server: RedisServer) -> Iterator[Gallery]:
    """A gallery of 200 people."""
    gallery, rng = opened(server.url), np.random.default_rng(3)
    gallery.put_collection("people", MODEL, DIMENSION)
    for number in range(200):
        vector = rng.normal(size=(1, DIMENSION)).astype(np.float32)
        gallery.add_media("people", f"p{number}", MODEL, [NewMedium("m", vector, np.ones(1, np.float32))], create=True)
    yield gallery
    gallery.close()


def test_three_parts_find_what_one_gallery_finds(server: RedisServer, whole: Gallery, faces: Faces):
    rng = np.random.default_rng(4)
    with ExitStack() as stack:
        for number in range(PARTS):
            stack.enter_context(searching(server.url, Part(number, PARTS)))
        scattered = ScatteredSearch(whole, server.url, PARTS)
        for count in (1, 7, 200, 500):
            probe = rng.normal(size=DIMENSION).astype(np.float32)
            assert scattered.search("people", MODEL, probe, count) == whole.search("people", MODEL, probe, count)
        # what is enrolled or deleted a moment before is seen
        whole.add_media("people", "ada", MODEL, [faces.medium("ada", "m")], create=True)
        assert scattered.search("people", MODEL, faces.vector("ada"), 1).matches[0].subject == "ada"
        whole.delete_subject("people", "ada")
        assert scattered.search("people", MODEL, faces.vector("ada"), 1).matches[0].subject != "ada"
        with pytest.raises(CollectionNotFound):
            scattered.search("nobody", MODEL, probe)
        with pytest.raises(ModelMismatch, match="re-enrol"):
            scattered.search("people", "b" * 64, probe)
    parts = [opened(server.url, Part(number, PARTS)).warm("people") for number in range(PARTS)]
    assert sum(parts) == 200
    assert min(parts) > 50


def test_many_callers_get_their_own_answers(server: RedisServer, whole: Gallery):
    rng, wrong = np.random.default_rng(5), []
    probes = rng.normal(size=(30, DIMENSION)).astype(np.float32)
    with ExitStack() as stack:
        for number in range(PARTS):
            stack.enter_context(searching(server.url, Part(number, PARTS)))
            stack.enter_context(searching(server.url, Part(number, PARTS)))  # two serve each part

        def ask(mine: np.ndarray) -> None:
            scattered = ScatteredSearch(whole, server.url, PARTS)
            wrong.extend(p for p in mine if scattered.search("people", MODEL, p) != whole.search("people", MODEL, p))

        threads = [threading.Thread(target=ask, args=(probes[start::5],)) for start in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_a_part_that_is_away_is_an_error_not_a_shorter_answer(server: RedisServer, whole: Gallery):
    with searching(server.url, Part(0, PARTS)), searching(server.url, Part(2, PARTS)):
        scattered = ScatteredSearch(whole, server.url, PARTS, timeout=1)
        with pytest.raises(SearcherMissing, match="part 2 of 3"):
            scattered.search("people", MODEL, np.ones(DIMENSION, np.float32))
        with searching(server.url, Part(1, PARTS)):  # it comes back
            again = ScatteredSearch(whole, server.url, PARTS)
            assert len(again.search("people", MODEL, np.ones(DIMENSION, np.float32)).matches) == 10


def test_what_a_searcher_cannot_open_is_told_by_its_own_error(server: RedisServer, whole: Gallery):
    row = whole.encrypted.require("people").row
    with searching(server.url, WHOLE):
        scattered = ScatteredSearch(whole, server.url, 1)
        assert scattered.search("people", MODEL, np.ones(DIMENSION, np.float32)).gallery_size == 200
        assert whole.encrypted.store.set_key(row.id, row.key, Vault([b"x" * 32]).wrap(b"0" * 32, row.id))
        with pytest.raises(VaultLocked, match="another master key") as caught:
            scattered.search("people", MODEL, np.ones(DIMENSION, np.float32))
    assert (caught.value.code, caught.value.status) == ("vault_locked", 500)


def test_what_is_not_a_search_does_not_stop_a_searcher(server: RedisServer, whole: Gallery):
    with searching(server.url, WHOLE):
        for item in (b"", b"junk", msgspec.msgpack.encode({"id": "x", "sealed": b"junk"})):
            server.client.rpush(f"{PREFIX}0/1", item)
        scattered = ScatteredSearch(whole, server.url, 1)
        assert len(scattered.search("people", MODEL, np.ones(DIMENSION, np.float32)).matches) == 10


def test_nothing_travels_in_the_clear(server: RedisServer, whole: Gallery):
    scattered = ScatteredSearch(whole, server.url, 1, timeout=0.2)
    probe = np.arange(1, DIMENSION + 1).astype(np.float32)
    with pytest.raises(SearcherMissing):
        scattered.search("people", MODEL, probe)
    (waiting,) = server.client.lrange(f"{PREFIX}0/1", 0, -1)
    assert probe.tobytes()[:8] not in waiting
    assert b"people" not in waiting
    assert 0 < server.client.ttl(f"{PREFIX}0/1") <= 60


@pytest.mark.parametrize(("number", "of"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_such_part(number: int, of: int):
    with pytest.raises(ValueError, match="no part"):
        Part(number, of)


def test_over_http(server: RedisServer, tmp_path):
    settings = Settings(data_dir=tmp_path, redis_url=server.url, searchers=2)
    with people_served(settings) as served:
        served.client.put("/v1/collections/staff")
        (master,) = master_keys_from_file(tmp_path / "master.key")
        with searching(server.url, Part(0, 2), master), searching(server.url, Part(1, 2), master):
            for name, who in (("ada", 1), ("bob", 2), ("eve", 3)):
                url = f"/v1/collections/staff/subjects/{name}/media"
                assert served.client.post(url, params={"create": True}, content=photo(who)).status_code == 200
            answer = served.client.post("/v1/collections/staff/search", content=photo(3, take=2)).json()
            assert answer["matches"][0]["subject"] == "eve"
            assert len(answer["matches"]) == 3
            none = served.client.post("/v1/collections/none/search", content=photo(1))
            assert (none.status_code, none.json()["code"]) == (404, "collection_not_found")
