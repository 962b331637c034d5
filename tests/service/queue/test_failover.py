"""Redis under a name that another server takes over: the old master lives on as a replica and keeps its connections."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.errors import NotReady
from service.gallery.stores.redis import RedisStore
from service.jobs import Item, Job
from service.jobs.budget import Budget
from service.jobs.redis import RedisJobs
from service.queue.consumer import RedisConsumer
from service.queue.producer import RedisProducer
from service.wire import Options
from tests.service.queue.processes import RedisServer, redis_server
from tests.service.queue.test_broker import answer, claimed, in_thread, job
from tests.service.serving import CARD, WORKER


class Name:
    """The name of a Redis, here a link to its socket."""

    def __init__(self, old: RedisServer, new: RedisServer) -> None:
        self.url = f"unix://{old.folder}/name"
        self._link = old.folder / "name"
        self._link.symlink_to(old.folder / "redis.sock")
        self._old = old
        self._new = new

    def fail_over(self) -> None:
        """Make the old server a replica, and let the name lead to the new one."""
        self._old.client.replicaof("127.0.0.1", "1")
        self._link.unlink()
        self._link.symlink_to(self._new.folder / "redis.sock")


@pytest.fixture
def name() -> Iterator[Name]:
    with redis_server() as old, redis_server() as new:
        yield Name(old, new)


def test_the_gallery_writes_to_the_new_master(name: Name) -> None:
    store = RedisStore(name.url)
    store.put_record("a", b"1")
    name.fail_over()
    store.put_record("a", b"2")
    assert store.record("a") == b"2"
    store.close()


def test_jobs_are_accepted_by_the_new_master(name: Name) -> None:
    async def story() -> None:
        jobs = RedisJobs(name.url, 4, 60, Budget(1 << 20, 1 << 20))
        assert not await jobs.delete("none")
        name.fail_over()
        await jobs.create(Job("j" * 32, "r", "", time.time(), 1, Options()), [Item(image=b"photo")], None)
        await jobs.disconnect()

    asyncio.run(story())


def test_the_queue_goes_on_at_the_new_master(name: Name) -> None:
    worker = RedisConsumer(name.url, WORKER.model, lease=0.4)
    worker.announce(WORKER, CARD)

    async def story() -> None:
        api = RedisProducer(name.url, 4, 1000)
        await api.start()
        [future] = await api.submit([job("a")])
        await in_thread(worker.finish, [answer(await in_thread(claimed, worker))])
        assert (await asyncio.wait_for(future, 5)).id == "a"
        name.fail_over()
        async with asyncio.timeout(10):
            future = None
            while future is None:
                with suppress(NotReady):
                    [future] = await api.submit([job("b")])
                await asyncio.sleep(0.05)
        await in_thread(worker.finish, [answer(await in_thread(claimed, worker))])
        assert (await asyncio.wait_for(future, 5)).id == "b"
        await api.close()

    asyncio.run(story())
    worker.close()
