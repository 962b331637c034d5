"""A real redis-server for all tests of the queue, and one that is empty for each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import write_tiny_checkpoint
from tests.queue.processes import Processes, RedisServer, redis_server


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
