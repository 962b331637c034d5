"""Both stores, the Redis one on a real server that is started here, and galleries over them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
import skimage.data

from service.gallery.gallery import Gallery
from service.gallery.redis import RedisStore
from service.gallery.sqlite import SqliteStore
from service.gallery.store import Store
from service.vault import Vault
from tests.identity.people import DIMENSION, MASTER, MODEL, Clock, Faces, RedisServer, redis_8, redis_server


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(scope="session")
def vector_redis() -> Iterator[RedisServer]:
    """A Redis 8, beside the store."""
    with redis_server(program=redis_8()) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store as often as wanted, as several processes would."""
    opened: list[Store] = []
    server = None
    if request.param == "redis":
        server = request.getfixturevalue("shared_redis")
        server.client.flushall()

    def connect() -> Store:
        opened.append(RedisStore(server.url) if server else SqliteStore(tmp_path / "gallery.db"))
        return opened[-1]

    yield connect
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gallery(store: Store, clock: Clock) -> Gallery:
    """With an empty collection 'people'."""
    made = Gallery(store, Vault([MASTER]), clock)
    made.put_collection("people", MODEL, DIMENSION)
    return made


@pytest.fixture
def faces() -> Faces:
    return Faces()


@pytest.fixture(scope="session")
def astronaut_png() -> bytes:
    """scikit-image's astronaut: one face."""
    return bytes(cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1])
