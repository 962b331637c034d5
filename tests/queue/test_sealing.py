"""Photos and what was found in them lie sealed in Redis: its files show neither, and nothing else opens them."""

import asyncio
import base64
import json
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import msgpack
import numpy as np
import pytest

from service.__main__ import main
from service.broker import Job, Result, WorkerInfo, codec
from service.broker.redis import RedisApi
from service.broker.redis_worker import RedisWorker
from service.broker.seal import Seal, open_seal
from service.config import Settings
from service.jobs import BulkJob, Item
from service.jobs.redis import RedisJobs
from service.schemas import JobOptions
from service.vault import VaultLocked
from tests.queue.device import COLOURS
from tests.queue.processes import NOTHING, PREFIX, Processes, RedisServer, redis_server, until

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
TEXT = base64.b64encode(KEY).decode()
DESCRIPTOR = [round(float(value), 6) for value in np.random.default_rng(1).normal(size=64)]
KEEPS_ALL = ("--appendonly", "yes", "--appendfsync", "always")


def noise(colour: str = "grey", side: int = 64) -> bytes:
    """A PNG that is no other, with the device's word in its first pixel."""
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    pixels[0, 0] = COLOURS[colour]
    return bytes(cv2.imencode(".png", pixels)[1])


def shown(server: RedisServer, secret: bytes) -> bool:
    """Whether any 24 bytes in a row of it stand in one of the files of this Redis, its dump included."""
    server.client.save()
    folder = Path(server.client.config_get("dir")["dir"])
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return any(secret[start : start + 24] in kept for start in range(0, len(secret) - 24, 8))


def job(name: str, image: bytes) -> Job:
    now = time.monotonic()
    return Job(name, "request", image, 4096, JobOptions(descriptor=True), now, now + 30)


def numbers(values: list[float]) -> list[bytes]:
    """How they might stand in a file."""
    return [msgpack.packb(values), struct.pack(f"<{len(values)}f", *values), json.dumps(values)[1:-1].encode()]


@pytest.fixture
def kept() -> Iterator[RedisServer]:
    with redis_server(*KEEPS_ALL) as server:
        yield server


@pytest.mark.parametrize("seal", [Seal([KEY]), None], ids=["sealed", "unsealed"])
def test_the_files_of_redis_show_no_photo_and_no_descriptor(kept: RedisServer, seal: Seal | None) -> None:
    """Unsealed they do: the search finds what is there."""
    photo = noise()
    worker = RedisWorker(kept.url, "digest", seal=seal)
    jobs = RedisJobs(kept.url, 4, 60, seal)

    async def story() -> None:
        api = RedisApi(kept.url, 8, 1 << 20, None, seal)
        await api.start()
        worker.announce(WorkerInfo("w", "digest", {}))
        [future] = await api.submit([job("a", photo)])
        [claimed] = await asyncio.to_thread(worker.claim, 1, 2.0)
        assert claimed.image == photo
        analysis = {"faces": [{"descriptor": DESCRIPTOR}]}
        await asyncio.to_thread(worker.finish, [Result("a", "digest", analysis)])
        assert (await asyncio.wait_for(future, 5)).analysis == analysis
        bulk = BulkJob("b", "request", "", time.time(), 1, JobOptions())
        await jobs.create(bulk, [Item("Ada Lovelace at the seaside.png", photo)], None)
        assert await jobs.item("b", 0) == Item("Ada Lovelace at the seaside.png", photo)
        await jobs.put("b", 0, {"index": 0, "analysis": analysis})
        assert await jobs.results("b", 0, 10) == [{"index": 0, "analysis": analysis}]
        await jobs.disconnect()
        await api.close()

    asyncio.run(story())
    worker.close()
    secrets = [photo, b"Ada Lovelace at the seaside.png"]
    found = [shown(kept, secret) for secret in secrets] + [any(shown(kept, form) for form in numbers(DESCRIPTOR))]
    assert found == [seal is None] * 3


def test_the_whole_way_with_a_queue_key(
    kept: RedisServer,
    start_on: Callable[[RedisServer], Processes],
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A request, a job of many photos and a dead letter, which is listed without the key and replayed with it."""
    processes = start_on(kept)
    api = processes.api(FACE_QUEUE_KEY=TEXT)
    workers = [processes.worker(weights, FACE_QUEUE_KEY=TEXT, FACE_QUEUE_DELIVERIES="1") for _ in range(2)]
    until(lambda: api.ready() and all(worker.ready() for worker in workers))
    photo, deadly = noise("grey", 65), noise("red", 66)
    assert api.post("/v1/faces", content=photo).json()["faces"] == []
    where = api.post("/v1/jobs", content=photo).headers["Location"]
    until(lambda: api.get(where).json()["status"] == "done")
    [row] = api.get(where).json()["results"]
    assert row["analysis"]["faces"] == []
    assert api.post("/v1/faces", content=deadly).json()["code"] == "worker_lost"
    assert not shown(kept, photo)
    assert not shown(kept, deadly)

    def command(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["dead-letters", *words])
        return ended.value.code, capsys.readouterr().out

    monkeypatch.setenv("FACE_REDIS_URL", kept.url)
    letter = json.loads(command("list")[1])
    assert (letter["bytes"], letter["pixels"]) == (len(deadly), 66 * 66)
    assert command("replay", "--all")[0] == 1, "without the key it does not open"
    monkeypatch.setenv("FACE_QUEUE_KEY", TEXT)
    [(entry, fields)] = kept.client.xrange(f"{PREFIX}dead")
    mended = Seal([KEY]).seal(noise("grey", 66), codec.PHOTO, fields[b"id"])
    kept.client.xdel(f"{PREFIX}dead", entry)
    kept.client.xadd(f"{PREFIX}dead", {**fields, b"i": mended})  # as if mended: it kills no worker any more
    status, lines = command("replay", "--all")
    assert (status, json.loads(lines)["analysis"]["faces"]) == (0, [])
    assert command("list") == (0, "")


@pytest.mark.parametrize(
    ("api_keys", "worker_keys", "strict", "code"),
    [
        ([KEY], [KEY], True, None),
        ([OTHER], [KEY, OTHER], True, None),
        ([KEY], [OTHER], True, "queue_locked"),
        ([KEY], None, True, "queue_locked"),
        ([KEY], None, False, None),
        (None, [KEY], False, None),
    ],
    ids=["same", "changing", "another", "none", "derived", "not-the-api"],
)
def test_who_has_which_key(
    server: RedisServer,
    api_keys: list[bytes] | None,
    worker_keys: list[bytes] | None,
    strict: bool,
    code: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A key of the queue's own is always used; one derived from the master key only where all workers have it."""
    worker = RedisWorker(server.url, "digest", seal=Seal(worker_keys) if worker_keys else None)

    async def story() -> None:
        api = RedisApi(server.url, 8, 1 << 20, None, Seal(api_keys) if api_keys else None, strict)
        await api.start()
        worker.announce(WorkerInfo("w", "digest", {}))
        assert await api.ready()
        [future] = await api.submit([job("a", noise())])
        claimed = await asyncio.to_thread(worker.claim, 1, 2.0)
        await asyncio.to_thread(worker.finish, [Result(one.id, "digest", {"faces": []}) for one in claimed])
        assert (await asyncio.wait_for(future, 5)).code == code
        await api.close()

    asyncio.run(story())
    worker.close()
    assert server.left() == NOTHING
    warned = "photos lie unsealed" in caplog.text
    assert warned == (api_keys is None or (worker_keys is None and not strict))


def test_what_was_sealed_for_one_job_opens_for_no_other(server: RedisServer) -> None:
    seal = Seal([KEY])
    header, image, _ = codec.pack_job(job("a", noise()), seal)
    fields = {b"id": b"a", b"h": header, b"t": b"1000"}
    assert codec.unpack_job(fields, image, 0, 1, Seal([KEY])).image == noise()
    changed = image[:-1] + bytes([image[-1] ^ 1])
    for name, moved in ((b"b", image), (b"a", changed), (b"a", image[:10])):
        with pytest.raises(VaultLocked):
            codec.unpack_job({**fields, b"id": name}, moved, 0, 1, seal)
    packed = msgpack.unpackb(codec.pack_result(Result("a", "digest", {"faces": []}), seal))
    with pytest.raises(VaultLocked):
        codec.unpack_result(msgpack.packb({**packed, "job_id": "b"}), seal)

    async def story() -> None:
        jobs = RedisJobs(server.url, 4, 60, seal)
        await jobs.create(BulkJob("j", "r", "", 0.0, 2, JobOptions()), [Item("one", b"1"), Item("two", b"2")], None)
        row = server.client.hget("face:bulk:j:items", "0")
        server.client.hset("face:bulk:j:items", "1", row)
        with pytest.raises(VaultLocked):
            await jobs.item("j", 1)
        await jobs.disconnect()

    asyncio.run(story())


def test_which_key_the_settings_name(tmp_path: Path) -> None:
    text = base64.b64encode(OTHER).decode()
    (tmp_path / "key").write_text(TEXT)
    queue = open_seal(Settings(queue_key=TEXT))  # type: ignore[arg-type]
    assert queue is not None
    assert queue.opens == open_seal(Settings(queue_key_file=tmp_path / "key", master_key=text)).opens  # type: ignore[union-attr,arg-type]
    derived = open_seal(Settings(master_key=TEXT))  # type: ignore[arg-type]
    assert derived is not None
    assert derived.id != queue.id, "a worker with the queue's key has not the master key"
    assert derived.id == open_seal(Settings(master_key_file=tmp_path / "key")).id  # type: ignore[union-attr]
    both = open_seal(Settings(queue_key=f"{text},{TEXT}"))  # type: ignore[arg-type]
    assert both is not None
    assert both.id != queue.id
    assert queue.id in both.opens
    assert both.open(queue.seal(b"x", b"here"), b"here") == b"x"
    missing = Settings(master_key_file=tmp_path / "none" / "key")
    assert open_seal(missing) is None
    made = open_seal(missing, make=True)
    assert made is not None
    assert made.id == open_seal(missing).id  # type: ignore[union-attr]
    assert open_seal(Settings()) is None
    for bad in (Settings(queue_key="short"), Settings(queue_key_file=tmp_path / "no")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="key"):
            open_seal(bad)


def test_each_process_seals_under_a_key_of_its_own() -> None:
    first, second = Seal([KEY]), Seal([KEY])
    assert first.seal(b"x", b"here")[4:20] != second.seal(b"x", b"here")[4:20]
    assert first.open(second.seal(b"x", b"here"), b"here") == b"x"
    assert replace(WorkerInfo("w", "d", {}), opens=first.opens).opens == second.opens
