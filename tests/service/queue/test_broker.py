"""What every broker promises, tried on each of them."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from service.errors import NotReady, QueueFull
from service.queue import Consumer, Producer
from service.queue.consumer import RECENT_SECONDS, RedisConsumer
from service.queue.local import LocalQueue
from service.queue.producer import RedisProducer
from service.wire import (
    Analysis,
    AnalysisRequest,
    AnalysisResult,
    ImageHeader,
    ModelCard,
    Options,
    WorkerInfo,
)
from tests.service.queue.processes import RedisServer

HEADER = ImageHeader("PNG", 10, 10)
CARD = ModelCard("digest", "cosine", 16)


@dataclass
class Pair:
    """Both sides of one broker that holds 4 jobs of 1000 bytes together."""

    api: Producer
    worker: Consumer


@pytest.fixture(params=["local", "redis"])
def broker(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "local":
        local = LocalQueue(4, 1000)
        yield Pair(local, local)
        return
    server: RedisServer = request.getfixturevalue("server")
    worker = RedisConsumer(server.url, "digest", lease=30)
    yield Pair(RedisProducer(server.url, 4, 1000), worker)
    worker.close()


def job(name: str, size: int = 10, seconds: float = 30) -> AnalysisRequest:
    now = time.monotonic()
    return AnalysisRequest(name, f"request-{name}", bytes(size), HEADER, Options(max_faces=3), now, now + seconds)


def answer(claimed: AnalysisRequest) -> AnalysisResult:
    return AnalysisResult(claimed.id, "digest", Analysis(1, 1, []), timings={"decode": 0.5})


def claimed(worker: Consumer, seconds: float = 10) -> AnalysisRequest:
    """The first job it gets."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for found in worker.claim(1, 0.1):
            return found
    raise AssertionError("no job came")


def in_thread(function, *arguments):
    return asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def test_a_job_goes_through_unchanged_and_is_answered(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        sent = job("a")
        (future,) = await broker.api.submit([sent])
        (claimed,) = await in_thread(broker.worker.claim, 5, 2.0)
        assert (claimed.id, claimed.request_id, claimed.image, claimed.pixels) == (
            "a", "request-a", bytes(10), 100,
        )  # fmt: skip
        assert claimed.options == sent.options
        assert claimed.attempt == 1
        assert abs(claimed.deadline - sent.deadline) < 0.5
        assert abs(claimed.submitted - sent.submitted) < 0.5
        assert (await broker.api.state()).depth == 1, "held work still counts"
        await in_thread(broker.worker.finish, [answer(claimed)])
        assert await asyncio.wait_for(future, 2) == answer(claimed)
        assert (await broker.api.state()).depth == 0
        await broker.api.close()

    asyncio.run(story())


def test_oldest_first_and_no_more_than_asked(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        await broker.api.submit([job("a"), job("b")])
        await broker.api.submit([job("c")])
        first = await in_thread(broker.worker.claim, 2, 1.0)
        assert [claimed.id for claimed in first] == ["a", "b"]
        second = await in_thread(broker.worker.claim, 2, 1.0)
        assert [claimed.id for claimed in second] == ["c"]
        started = time.monotonic()
        assert await in_thread(broker.worker.claim, 2, 0.2) == []
        assert 0.1 < time.monotonic() - started < 2
        await in_thread(broker.worker.finish, [answer(claimed) for claimed in first + second])
        await broker.api.close()

    asyncio.run(story())


def test_a_full_queue_takes_all_of_a_request_or_nothing(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        await broker.api.submit([job("a"), job("b"), job("c")])
        with pytest.raises(QueueFull) as caught:
            await broker.api.submit([job("d"), job("e")])
        assert int(caught.value.headers["Retry-After"]) >= 1
        assert (await broker.api.state()).depth == 3
        await broker.api.submit([job("d")])
        with pytest.raises(QueueFull):
            await broker.api.submit([job("e")])
        claimed = await in_thread(broker.worker.claim, 1, 1.0)
        await in_thread(broker.worker.finish, [answer(claimed[0])])
        await broker.api.submit([job("e")])
        await broker.api.close()

    asyncio.run(story())


def test_a_queue_is_also_full_by_bytes_but_one_job_always_fits(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        await broker.api.submit([job("giant", size=5000)])
        with pytest.raises(QueueFull):
            await broker.api.submit([job("b")])
        (giant,) = await in_thread(broker.worker.claim, 1, 1.0)
        await in_thread(broker.worker.finish, [answer(giant)])
        await broker.api.submit([job("b", size=600)])
        with pytest.raises(QueueFull):
            await broker.api.submit([job("c", size=600)])
        await broker.api.close()

    asyncio.run(story())


def test_cancelled_work_is_known_to_the_worker_and_finishing_it_harms_nothing(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        held, waiting, wanted = await broker.api.submit([job("held"), job("waiting"), job("wanted")])
        (first,) = await in_thread(broker.worker.claim, 1, 1.0)
        await broker.api.cancel(["held", "waiting"])
        assert held.cancelled()
        assert waiting.cancelled()
        rest = await in_thread(broker.worker.claim, 5, 1.0)
        jobs = [first, *rest]
        await asyncio.sleep(RECENT_SECONDS)  # younger ones are not asked about over Redis
        gone = await in_thread(broker.worker.cancelled, [claimed.id for claimed in jobs])
        assert "held" in gone
        assert "wanted" not in gone
        assert "waiting" in gone or all(claimed.id != "waiting" for claimed in rest)
        await in_thread(broker.worker.finish, [answer(claimed) for claimed in jobs])
        assert (await asyncio.wait_for(wanted, 2)).id == "wanted"
        assert (await broker.api.state()).depth == 0
        await broker.api.close()

    asyncio.run(story())


def test_the_oldest_age_is_that_of_work_nobody_holds(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        assert (await broker.api.state()).oldest_age == 0
        await broker.api.submit([job("a")])
        await asyncio.sleep(0.2)
        assert 0.1 < (await broker.api.state()).oldest_age < 2
        claimed = await in_thread(broker.worker.claim, 1, 1.0)
        assert (await broker.api.state()).oldest_age == 0
        await in_thread(broker.worker.finish, [answer(claimed[0])])
        await broker.api.close()

    asyncio.run(story())


def test_workers_come_and_go(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        assert await broker.api.workers() == []
        who = WorkerInfo("w", "digest", device="cpu")
        with pytest.raises(NotReady):
            await broker.api.model_card()
        await in_thread(broker.worker.announce, who, CARD)
        [seen] = await broker.api.workers()
        assert (seen.id, seen.model, seen.device) == ("w", "digest", "cpu")
        assert await broker.api.model_card() == CARD
        assert await broker.api.model_card("digest") == CARD
        await in_thread(broker.worker.leave)
        assert await broker.api.workers() == []
        await broker.api.close()

    asyncio.run(story())


def test_a_job_for_another_model_is_refused(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        await in_thread(broker.worker.announce, WorkerInfo("w", "digest"), CARD)
        assert await broker.api.ready()
        with pytest.raises(NotReady):
            await broker.api.submit([replace(job("a"), model="other")])
        assert (await broker.api.state()).depth == 0
        [future] = await broker.api.submit([replace(job("b"), model="digest")])
        [claimed] = await in_thread(broker.worker.claim, 1, 1.0)
        await in_thread(broker.worker.finish, [answer(claimed)])
        assert (await asyncio.wait_for(future, 2)).id == "b"
        await broker.api.close()

    asyncio.run(story())


def test_closing_leaves_no_caller_waiting(broker: Pair) -> None:
    async def story() -> None:
        await broker.api.start()
        (future,) = await broker.api.submit([job("a")])
        await broker.api.close()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(future, 2)

    asyncio.run(story())
