"""What the broker over Redis promises beyond that: photos beside their jobs, broken connections, late answers."""

import asyncio
from typing import Any

import pytest
import redis
from msgspec.structs import replace

from service.errors import QueueFull, ServiceError
from service.queue.connection import Command, ConnectionPool
from service.queue.consumer import RedisConsumer
from service.queue.producer import RedisProducer
from tests.service.queue.processes import NOTHING, PREFIX, RedisServer, redis_server, until
from tests.service.queue.test_broker import answer, claimed, in_thread, job
from tests.service.serving import CARD, WORKER


def test_an_answer_that_is_none_stops_no_other(server: RedisServer) -> None:
    worker = RedisConsumer(server.url, "digest", lease=30)

    async def story() -> None:
        api = RedisProducer(server.url, 4, 1000)
        await api.start()
        [replies] = server.client.scan_iter("face:queue:replies:*")
        for fields in ({"x": "y"}, {"r": b"\xc1"}, {"r": b"\x80"}, {"r": b"\x01"}):
            server.client.xadd(replies, fields)
        [future] = await api.submit([job("a")])
        [claimed] = await in_thread(worker.claim, 1, 1.0)
        await in_thread(worker.finish, [answer(claimed)])
        assert (await asyncio.wait_for(future, 5)).id == "a"
        await api.close()

    asyncio.run(story())
    worker.close()


def test_photos_go_with_their_jobs(server: RedisServer) -> None:
    """One refused leaves nothing; one submitted twice is worked on once; one without a photo is answered so."""
    worker = RedisConsumer(server.url, "digest", lease=30)

    async def story() -> None:
        api = RedisProducer(server.url, 3, 1000)
        await api.start()
        with pytest.raises(QueueFull):
            await api.submit([job(name) for name in "abcd"])
        assert server.left() == NOTHING
        await api.submit([job("a")])
        [future] = await api.submit([job("a")])  # what a connection that broke before the reply comes to
        [held] = await in_thread(worker.claim, 5, 1.0)
        assert server.left() == {"jobs": 1, "pending": 1, "bytes": 10, "images": 0, "answers": 0}, "the worker has it"
        await in_thread(worker.finish, [answer(held)])
        assert (await asyncio.wait_for(future, 5)).model == "digest"
        await in_thread(until, lambda: server.left() == NOTHING)
        [future] = await api.submit([job("b")])
        server.client.delete(f"{PREFIX}image:b")
        assert await in_thread(worker.claim, 5, 0.2) == []
        assert (await asyncio.wait_for(future, 5)).code == ServiceError.code
        await api.close()

    asyncio.run(story())
    worker.close()
    assert server.left() == NOTHING


def test_a_request_that_cannot_be_refused_yet_keeps_no_other_from_being_worked_on(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = RedisConsumer(server.url, "digest", lease=0.4)
    run, broken = worker._answers.run, []

    def breaking(*arguments: Any) -> Any:
        if broken:
            return run(*arguments)
        broken.append(arguments)
        raise redis.exceptions.ConnectionError

    async def story() -> None:
        api = RedisProducer(server.url, 3, 1000)
        await api.start()
        [without_photo, good] = await api.submit([job("a"), job("b")])
        server.client.delete(f"{PREFIX}image:a")
        monkeypatch.setattr(worker._answers, "run", breaking)
        [held] = await in_thread(worker.claim, 5, 1.0)
        assert broken
        await in_thread(worker.finish, [answer(held)])
        assert (await asyncio.wait_for(good, 5)).id == "b"
        while not without_photo.done():
            assert await in_thread(worker.claim, 5, 0.05) == []
        assert without_photo.result().code == ServiceError.code
        await api.close()

    asyncio.run(asyncio.wait_for(story(), 20))
    worker.close()
    assert server.left() == NOTHING


@pytest.mark.parametrize("done", [True, False])
def test_a_connection_that_breaks_while_a_job_is_submitted(
    server: RedisServer, done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known whether it was admitted: asked, it is admitted once, also where it filled the queue itself."""

    async def story() -> None:
        api = RedisProducer(server.url, 1, 1000)
        await api.start()
        transact, broken = ConnectionPool.transact, []

        async def breaking(pool: ConnectionPool, *commands: Command) -> list[object]:
            if broken:
                return await transact(pool, *commands)
            broken.append(done and await transact(pool, *commands))
            raise redis.exceptions.ConnectionError

        monkeypatch.setattr(ConnectionPool, "transact", breaking)
        RedisConsumer(server.url, "digest", lease=30).close()
        await api.submit([job("a")])
        assert broken
        assert server.left() == {"jobs": 1, "pending": 0, "bytes": 10, "images": 1, "answers": 0}
        await api.close()

    asyncio.run(story())


def test_only_the_first_of_two_answers_counts(server: RedisServer) -> None:
    """A worker that was taken for lost answers late."""
    slow, quick = (RedisConsumer(server.url, "digest", lease=lease) for lease in (30, 0.2))

    async def story() -> None:
        api = RedisProducer(server.url, 4, 1000)
        await api.start()
        [future] = await api.submit([job("a")])
        [held] = await in_thread(slow.claim, 1, 1.0)
        await asyncio.sleep(0.25)  # the lease of the quick one
        taken = await in_thread(claimed, quick)
        assert (held.attempt, taken.attempt) == (1, 2)
        assert (held.id, held.image, held.options) == (taken.id, taken.image, taken.options)
        await in_thread(quick.finish, [answer(taken)])
        assert (await asyncio.wait_for(future, 5)).id == "a"
        await in_thread(slow.finish, [answer(held)])
        assert (await api.state()).depth == 0
        assert server.left() == NOTHING
        await api.close()

    asyncio.run(story())
    slow.close()
    quick.close()


def test_processes_that_start_while_the_memory_is_full_work_once_there_is_room() -> None:
    """A restarted worker frees the memory: it must not need any to join, nor must an API process."""
    with redis_server() as server:
        server.client.config_set("maxmemory", 1)
        worker = RedisConsumer(server.url, WORKER.model, lease=30)
        worker.announce(WORKER, CARD)

        async def story() -> None:
            api = RedisProducer(server.url, 4, 1000)
            await api.start()
            assert [found.model for found in await api.workers()] == [WORKER.model]
            assert await api.model_card() == CARD
            with pytest.raises(QueueFull):
                await api.submit([job("a")])
            server.client.config_set("maxmemory", 0)
            [future] = await api.submit([job("a")])
            [held] = await in_thread(worker.claim, 1, 1.0)
            await in_thread(worker.finish, [answer(held)])
            assert (await asyncio.wait_for(future, 5)).id == "a"
            await api.close()

        asyncio.run(story())
        worker.close()


def test_a_model_is_known_as_soon_as_a_worker_has_it(server: RedisServer) -> None:
    """A collection can be enrolled again under a new model, through another process, within a second of its start."""
    old = RedisConsumer(server.url, WORKER.model, lease=30)
    old.announce(WORKER, CARD)
    new = RedisConsumer(server.url, "new", lease=30)

    async def story() -> None:
        api = RedisProducer(server.url, 4, 1000)
        await api.start()
        assert (await api.model_card("new")).digest == CARD.digest, "no worker has it yet: the one that answers"
        await in_thread(new.announce, replace(WORKER, id="w2", model="new"), replace(CARD, digest="new"))
        assert (await api.model_card("new")).digest == "new"
        assert (await api.model_card(CARD.digest)).digest == CARD.digest
        [future] = await api.submit([replace(job("a"), model="new")])
        [held] = await in_thread(new.claim, 1, 1.0)
        await in_thread(new.finish, [answer(held)])
        assert (await asyncio.wait_for(future, 5)).id == "a"
        await api.close()

    asyncio.run(story())
    old.close()
    new.close()
