"""Everything at once and at random: lost replies, killed connections, callers that leave, workers that die."""

import asyncio
import random
import threading
from collections import Counter

import pytest
import redis

from service.errors import QueueFull, ServiceError
from service.queue.connection import Connection, ConnectionPool
from service.queue.consumer import RedisConsumer
from service.queue.producer import RedisProducer
from service.wire import AnalysisFailure, WorkerInfo
from tests.service.queue.processes import NOTHING, RedisServer, until
from tests.service.queue.test_broker import CARD, answer, job

pytestmark = pytest.mark.slow

SECONDS, LOST = 6, 0.1
"""How long it blows, and the share of Redis' replies that do not arrive."""


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that reach Redis, whose replies reach nobody."""
    chance, ask, ask_in_thread = random.Random(5), ConnectionPool.ask, Connection.ask

    async def losing(lines: ConnectionPool, *commands: tuple[object, ...]) -> list[object]:
        replies = await ask(lines, *commands)
        if commands[0] == ("MULTI",) and chance.random() < LOST:
            raise redis.exceptions.ConnectionError("a reply was lost")
        return replies

    def losing_in_thread(line: Connection, *commands: tuple[object, ...]) -> list[object]:
        replies = ask_in_thread(line, *commands)
        if chance.random() < LOST:
            raise redis.exceptions.ConnectionError("a reply was lost")
        return replies

    monkeypatch.setattr(ConnectionPool, "ask", losing)
    monkeypatch.setattr(Connection, "ask", losing_in_thread)


def work(server: RedisServer, number: int, over: threading.Event) -> None:
    """Workers, one after the other; some die, others leave, and a few do not come to life at all."""
    chance = random.Random(number)
    while not over.is_set():
        try:
            worker = RedisConsumer(server.url, "digest", lease=0.6)
        except redis.exceptions.RedisError:  # two replies in a row were lost: its command ends, and is started again
            continue
        worker.announce(WorkerInfo(f"w{number}", "digest"), CARD)
        for _ in range(chance.randrange(20, 120)):
            if not over.is_set():
                worker.finish([answer(held) for held in worker.claim(5, 0.05)])
        if chance.random() < 0.5:
            worker.claim(3, 0.05)
            worker.abandon()
        else:
            worker.close()


async def ask(api: RedisProducer, number: int, chance: random.Random, seen: Counter[str]) -> None:
    """One caller, of whom many leave before they have an answer."""
    jobs = [job(f"{number}-{place}", chance.randrange(1, 600), 20) for place in range(chance.choice((1, 1, 1, 3)))]
    try:
        async with asyncio.timeout(chance.choice((0.001, 0.003, 0.05, 8, 8))):
            futures = await api.submit(jobs)
            await asyncio.wait(futures)
            outcome = futures[0].result()
            seen[outcome.code if isinstance(outcome, AnalysisFailure) else "answered"] += 1
    except TimeoutError:
        seen["left"] += 1
    except ServiceError as error:
        seen[error.code] += 1
    await api.cancel([one.id for one in jobs])


async def blow(server: RedisServer, seen: Counter[str]) -> None:
    """Callers at random moments, and now and then somebody who cuts connections."""
    api, chance, loop = RedisProducer(server.url, 12, 4000), random.Random(1), asyncio.get_running_loop()
    await api.start()
    end, number, callers = loop.time() + SECONDS, 0, set[asyncio.Task[None]]()
    while loop.time() < end:
        callers.add(asyncio.create_task(ask(api, number, chance, seen)))
        number += 1
        await asyncio.sleep(chance.choice((0, 0.001, 0.01)))
        if chance.random() < 0.01:
            server.client.client_kill_filter(_type="normal", skipme=True)
    await asyncio.gather(*callers)
    await asyncio.to_thread(until, lambda: server.left() == NOTHING, 20)
    await api.close()


def test_after_a_storm_nothing_is_left(server: RedisServer, lossy: None) -> None:
    over, seen = threading.Event(), Counter[str]()
    workers = [threading.Thread(target=work, args=(server, number, over)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        asyncio.run(blow(server, seen))
    finally:
        over.set()
        for worker in workers:
            worker.join()
    assert seen["answered"] > 50, seen
    assert seen["left"] > 50, seen
    assert set(seen) <= {"answered", "left", "not_ready", "worker_lost", QueueFull.code}, seen
