"""Photos as bytes, an API with small limits, real Redis servers, processes, stores and galleries over them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from service.config import Settings
from service.crypto.vault import Vault
from service.gallery.gallery import Gallery
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import Store
from tests.conftest import write_tiny_checkpoint
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Clock, Faces
from tests.service.queue.processes import Processes, RedisServer, redis_server
from tests.service.serving import Served, answering, nothing_found, serve

SMALL = {"max_bytes": 100_000, "max_request_bytes": 200_000, "max_pixels": 10_000, "max_images": 3, "timeout": 5}


@pytest.fixture(scope="session")
def astronaut_png() -> bytes:
    """scikit-image's astronaut: one face, about x 174–279, y 70–178 of 512 × 512."""
    return bytes(cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1])


@pytest.fixture(scope="session")
def tiny_png() -> bytes:
    """A grey image of 8 × 6."""
    return bytes(cv2.imencode(".png", np.full((6, 8, 3), 128, np.uint8))[1])


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """The API with small limits; `seen` are the jobs its worker got."""
    with serve(Settings(**SMALL)) as served, answering(served.broker, nothing_found) as seen:
        served.seen = seen
        yield served


@pytest.fixture(scope="session")
def shared_server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    shared_server.client.flushall()
    return shared_server


@pytest.fixture(scope="session")
def weights(tiny_checkpoint: Path) -> Path:
    return tiny_checkpoint


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of another digest."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "other.safetensors", seed=1)


@pytest.fixture
def processes(server: RedisServer, tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path, server.url)
    yield made
    made.stop()


@pytest.fixture
def start_on(tmp_path: Path) -> Iterator[Callable[[RedisServer], Processes]]:
    """Processes on another redis-server than the shared one."""
    made: list[Processes] = []

    def start(server: RedisServer) -> Processes:
        made.append(Processes(tmp_path, server.url))
        return made[-1]

    yield start
    for processes in made:
        processes.stop()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    with redis_server() as server:
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
