"""What stores of jobs keep of videos and of collections that were looked through: the same on both, and sealed."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from service.config import Settings
from service.crypto.queue_cipher import QueueCipher
from service.errors import NotReady, QueueFull
from service.gallery.review import PartReview, ReviewPart, TaggedOutlier, TaggedPair
from service.jobs import IdempotencyConflict, IdempotencyKey, Item, ItemResult, Job, JobStore
from service.jobs.budget import Budget
from service.jobs.local import LocalJobs
from service.jobs.redis import RedisJobs
from service.jobs.tracks import FaceTrack, TrackedFace, TrackedVideo
from service.wire import AnalysisOutcome, AnalysisRequest, Box, FaceResult, Options, Pose, VideoLimits
from tests.service.queue.device import photo
from tests.service.queue.processes import RedisServer
from tests.service.serving import serve, stuck, until

BUDGET = Budget(1 << 20, 1 << 20)
FACE = FaceResult(Box(1, 2, 3, 4), 0.9, Pose(0, 0, 0), 0.5, "female", 0.5, 30.0, vector=b"vector of ada")
VIDEO = TrackedVideo("a" * 64, [FaceTrack([TrackedFace(0.5, FACE)])], 640, 480, [0.0, 0.5])
REVIEW = PartReview(
    "staff", b"i" * 16, "a" * 64, 2, [TaggedPair(b"1" * 16, b"2" * 16, 0.9, 0.5)],
    [TaggedOutlier(b"1" * 16, b"m" * 16, 0.1)],
)  # fmt: skip
LIMITS = VideoLimits(32, 600, 20_000, 9_000_000, 60)

Open = Callable[[], JobStore]


@pytest.fixture(params=["local", "redis"])
def open_store(request: pytest.FixtureRequest) -> Open:
    if request.param == "local":
        return lambda: LocalJobs(4, 60, BUDGET)
    server: RedisServer = request.getfixturevalue("server")
    cipher = QueueCipher([secrets.token_bytes(32)])
    return lambda: RedisJobs(server.url, 4, 60, BUDGET, cipher, required=True)  # a client belongs to its event loop


def job(total: int, **fields: object) -> Job:
    return msgspec.structs.replace(Job("j" * 32, "r", "", time.time(), total, Options()), **fields)


def test_a_video_and_a_review_come_back_as_they_were(open_store: Open):
    asyncio.run(_come_back(open_store))


async def _come_back(open_store: Open) -> None:
    store = open_store()
    made = job(2, options=Options(video=LIMITS, template=True), review=True, cluster=True, duplicates=((2, 0),))
    part = ReviewPart("staff", b"", b"\x80\0\0\0")
    await store.create(made, [Item(image=b"video of ada"), Item(review=part)], None)
    assert await store.job(made.id) == made
    assert await store.item(made.id, 1) == (Item(review=part), 1)
    await store.put(made.id, ItemResult(0, video=VIDEO))
    await store.put(made.id, ItemResult(1, review=REVIEW))
    assert await store.results(made.id, 0, 2) == [ItemResult(0, video=VIDEO), ItemResult(1, review=REVIEW)]
    assert await store.delete(made.id)
    assert await store.results(made.id, 0, 2) == []
    await store.disconnect()


def test_without_vectors_nothing_of_a_track_identifies_a_person():
    (track,) = VIDEO.without_vectors().tracks
    assert track.faces[0].face.vector is None
    assert b"vector of ada" not in msgspec.msgpack.encode(VIDEO.without_vectors())
    assert track.faces[0].face.box == FACE.box


def test_in_redis_all_of_it_is_sealed(server: RedisServer):
    asyncio.run(_sealed(server))


async def _sealed(server: RedisServer) -> None:
    store = RedisJobs(server.url, 4, 60, BUDGET, QueueCipher([secrets.token_bytes(32)]), required=True)
    made = job(2, review=True)
    await store.create(made, [Item(image=b"video of ada"), Item(review=ReviewPart("staff", b"", b""))], None)
    await store.put(made.id, ItemResult(0, video=VIDEO))
    kept = b"".join(
        b"".join([key, *server.client.hgetall(key).values()])
        for key in server.client.keys("face:jobs:*")
        if server.client.type(key) == b"hash"
    )
    assert kept
    for secret in (b"staff", b"vector of ada", b"video of ada"):
        assert secret not in kept
    await store.delete(made.id)
    assert not [key for key in server.client.keys("face:jobs:*") if made.id.encode() in key]
    await store.disconnect()


def test_of_jobs_that_come_at_once_with_one_key_only_one_is_kept(open_store: Open):
    """A caller who waited too long sends a large job again, while the first is still being stored."""

    async def story() -> None:
        store, key = open_store(), IdempotencyKey("key", "digest")
        made = [job(1, id=f"{number}" * 32) for number in range(3)]
        kept = await asyncio.gather(*(store.create(each, [Item(image=b"photo")], key) for each in made))
        assert len({each.id for each in kept}) == 1
        assert [await store.job(each.id) for each in made].count(None) == 2
        with pytest.raises(IdempotencyConflict):
            await store.create(job(1, id="9" * 32), [], IdempotencyKey("key", "other"))
        assert await store.delete(kept[0].id)
        assert await store.create(made[0], [Item(image=b"photo")], key) == made[0]
        await store.disconnect()

    asyncio.run(story())


def test_a_job_that_is_kept_is_open(server: RedisServer):
    """Also where Redis went away right after it was stored: no process would ever adopt it."""

    class Interrupted(RedisJobs):
        async def renew(self, job_id: str) -> bool:
            raise NotReady

    async def story() -> None:
        store = Interrupted(server.url, 4, 60, BUDGET)
        with suppress(NotReady):
            await store.create(job(1), [Item(image=b"photo")], None)
        assert (await store.job(job(1).id) is None) == (server.client.zscore("face:jobs:open", job(1).id) is None)
        await store.disconnect()

    asyncio.run(story())


def test_jobs_that_are_done_keep_no_others_out_while_their_webhooks_are_told(open_store: Open):
    async def story() -> None:
        store = open_store()
        made = [job(1, id=f"{number}" * 32) for number in range(5)]
        for each in made[:4]:
            await store.create(each, [Item(image=b"photo")], None)
        with pytest.raises(QueueFull):
            await store.create(made[4], [Item(image=b"photo")], None)
        await store.end(made[0].id)  # not closed: its process still tells the host
        await store.create(made[4], [Item(image=b"photo")], None)
        await store.disconnect()

    asyncio.run(story())


def test_an_item_that_fails_for_a_reason_nobody_thought_of_ends_its_job(tmp_path: Path):
    async def submit(requests: Sequence[AnalysisRequest]) -> list[asyncio.Future[AnalysisOutcome]]:
        raise ZeroDivisionError(f"{len(requests)} photos")

    with serve(Settings(data_dir=tmp_path)) as served:
        stuck(served)
        served.broker.submit = submit  # type: ignore[method-assign]
        accepted = served.client.post("/v1/jobs", content=photo("grey"))
        until(lambda: served.client.get(accepted.headers["Location"]).json()["status"] == "done", 10)
        [item] = served.client.get(accepted.headers["Location"]).json()["results"]
    assert item["error"]["code"] == "internal_error"


@pytest.mark.parametrize("kind", ["local", "redis"])
def test_a_key_is_known_for_as_long_as_its_job_is_kept(kind: str, request: pytest.FixtureRequest):
    async def story() -> None:
        store: JobStore = LocalJobs(4, 0.5, BUDGET)
        if kind == "redis":
            store = RedisJobs(request.getfixturevalue("server").url, 4, 0.5, BUDGET)
        key = IdempotencyKey("key", "digest")
        first = await store.create(job(1), [Item(image=b"photo")], key)
        await asyncio.sleep(0.35)
        await store.end(first.id)  # its results are kept from now on
        await asyncio.sleep(0.3)
        assert (await store.create(job(1, id="k" * 32), [Item(image=b"photo")], key)).id == first.id
        await store.disconnect()

    asyncio.run(story())
