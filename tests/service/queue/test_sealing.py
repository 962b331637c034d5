"""Photos and what was found in them lie sealed in Redis: its files show neither, and nothing else opens them."""

import asyncio
import base64
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec import msgpack
from msgspec.structs import replace

from service.__main__ import main
from service.config import Settings
from service.crypto.queue_cipher import QueueCipher, load_queue_cipher
from service.crypto.vault import VaultLocked
from service.jobs import Item, ItemResult, Job
from service.jobs.budget import Budget
from service.jobs.redis import RedisJobs
from service.queue import codec
from service.queue.consumer import RedisConsumer
from service.queue.producer import RedisProducer
from service.wire import (
    Analysis,
    AnalysisFailure,
    AnalysisRequest,
    AnalysisResult,
    Box,
    FaceResult,
    ImageHeader,
    ModelCard,
    Options,
    Pose,
    WorkerInfo,
)
from tests.service.queue.device import COLOURS
from tests.service.queue.processes import NOTHING, PREFIX, Processes, RedisServer, redis_server, until

pytestmark = pytest.mark.slow

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
TEXT = base64.b64encode(KEY).decode()
DESCRIPTOR = [round(float(value), 6) for value in np.random.default_rng(1).normal(size=64)]
HEADER = ImageHeader("PNG", 64, 64)
CARD = ModelCard("digest", "cosine", 16)
BUDGET = Budget(1 << 30, 1 << 30)
FACE = FaceResult(Box(1, 2, 3, 4), 0.9, Pose(1, 2, 3), 0.5, "female", 0.9, 30, descriptor=DESCRIPTOR)
ANALYSIS = Analysis(64, 64, [FACE])
NOBODY = Analysis(64, 64, [])
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


def job(name: str, image: bytes) -> AnalysisRequest:
    now = time.monotonic()
    return AnalysisRequest(name, "request", image, HEADER, Options(descriptor=True), now, now + 30)


def numbers(values: list[float]) -> list[bytes]:
    """How they might stand in a file."""
    return [msgpack.encode(values), struct.pack(f"<{len(values)}f", *values), json.dumps(values)[1:-1].encode()]


@pytest.fixture
def kept() -> Iterator[RedisServer]:
    with redis_server(*KEEPS_ALL) as server:
        yield server


@pytest.mark.parametrize("cipher", [QueueCipher([KEY]), None], ids=["encrypted", "plain"])
def test_the_files_of_redis_show_no_photo_and_no_descriptor(kept: RedisServer, cipher: QueueCipher | None) -> None:
    """Unencrypted they do: the search finds what is there."""
    photo = noise()
    worker = RedisConsumer(kept.url, "digest", cipher=cipher)
    jobs = RedisJobs(kept.url, 4, 60, BUDGET, cipher)

    async def story() -> None:
        api = RedisProducer(kept.url, 8, 1 << 20, None, cipher)
        await api.start()
        worker.announce(WorkerInfo("w", "digest"), CARD)
        [future] = await api.submit([job("a", photo)])
        [claimed] = await asyncio.to_thread(worker.claim, 1, 2.0)
        assert claimed.image == photo
        await asyncio.to_thread(worker.finish, [AnalysisResult("a", "digest", ANALYSIS)])
        assert (await asyncio.wait_for(future, 5)).analysis == ANALYSIS
        bulk = Job("b", "request", "", time.time(), 1, Options())
        await jobs.create(bulk, [Item("Ada Lovelace at the seaside.png", photo)], None)
        assert await jobs.item("b", 0) == (Item("Ada Lovelace at the seaside.png", photo), 1)
        await jobs.put("b", ItemResult(0, analysis=ANALYSIS))
        assert await jobs.results("b", 0, 10) == [ItemResult(0, analysis=ANALYSIS)]
        await jobs.disconnect()
        await api.close()

    asyncio.run(story())
    worker.close()
    secrets = [photo, b"Ada Lovelace at the seaside.png"]
    found = [shown(kept, secret) for secret in secrets] + [any(shown(kept, form) for form in numbers(DESCRIPTOR))]
    assert found == [cipher is None] * 3


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
    [(entry, fields)] = kept.client.xrange(f"{PREFIX}dead_letters")
    mended = QueueCipher([KEY]).encrypt(noise("grey", 66), codec.PHOTO, fields[b"id"], fields[b"h"])
    kept.client.xdel(f"{PREFIX}dead_letters", entry)
    kept.client.xadd(f"{PREFIX}dead_letters", {**fields, b"i": mended})  # as if mended: it kills no worker any more
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
    worker = RedisConsumer(server.url, "digest", cipher=QueueCipher(worker_keys) if worker_keys else None)

    async def story() -> None:
        api = RedisProducer(server.url, 8, 1 << 20, None, QueueCipher(api_keys) if api_keys else None, strict)
        await api.start()
        worker.announce(WorkerInfo("w", "digest"), CARD)
        assert await api.ready()
        [future] = await api.submit([job("a", noise())])
        claimed = await asyncio.to_thread(worker.claim, 1, 2.0)
        await asyncio.to_thread(worker.finish, [AnalysisResult(one.id, "digest", NOBODY) for one in claimed])
        outcome = await asyncio.wait_for(future, 5)
        assert (outcome.code if isinstance(outcome, AnalysisFailure) else None) == code
        await api.close()

    asyncio.run(story())
    worker.close()
    assert server.left() == NOTHING
    warned = "photos lie unencrypted" in caplog.text
    assert warned == (api_keys is None or (worker_keys is None and not strict))


def test_what_was_encrypted_for_one_request_decrypts_for_no_other(server: RedisServer) -> None:
    cipher = QueueCipher([KEY])
    head, image, _ = codec.pack_request(job("a", noise()), cipher)
    fields = {b"id": b"a", b"h": head, b"t": b"1000"}
    assert codec.unpack_request(fields, image, 0, 1, QueueCipher([KEY])).image == noise()
    changed = image[:-1] + bytes([image[-1] ^ 1])
    other_head, _, _ = codec.pack_request(job("a", noise("red")), cipher)
    looser = replace(msgpack.decode(head, type=codec.RequestHead), options=Options(template=True))
    for name, moved, its_head in (
        (b"b", image, head),
        (b"a", changed, head),
        (b"a", image[:10], head),
        (b"a", image, msgpack.encode(looser)),
    ):
        with pytest.raises(VaultLocked):
            codec.unpack_request({**fields, b"id": name, b"h": its_head}, moved, 0, 1, cipher)
    assert other_head == head, "the same options and size"
    packed = msgpack.decode(codec.pack_outcome(AnalysisResult("a", "digest", NOBODY), cipher))
    with pytest.raises(VaultLocked):
        codec.unpack_outcome(msgpack.encode({**packed, "id": "b"}), cipher)

    async def story() -> None:
        jobs = RedisJobs(server.url, 4, 60, BUDGET, cipher)
        await jobs.create(Job("j", "r", "", 0.0, 2, Options()), [Item("one", b"1"), Item("two", b"2")], None)
        row = server.client.hget("face:jobs:j:items", "0")
        server.client.hset("face:jobs:j:items", "1", row)
        with pytest.raises(VaultLocked):
            await jobs.item("j", 1)
        await jobs.disconnect()

    asyncio.run(story())


def test_where_a_key_is_required_nothing_unencrypted_is_taken(server: RedisServer) -> None:
    """Whoever writes to Redis without the key makes no request, no outcome, no model card and no job."""
    cipher = QueueCipher([KEY])
    head, image, _ = codec.pack_request(job("a", noise()), None)
    with pytest.raises(VaultLocked):
        codec.unpack_request({b"id": b"a", b"h": head, b"t": b"1000"}, image, 0, 1, cipher, required=True)
    forged = codec.pack_outcome(AnalysisResult("a", "digest", ANALYSIS), None)
    refused = codec.pack_outcome(AnalysisFailure("a", "digest", "no_face"), None)
    lost = codec.pack_outcome(AnalysisFailure("a", "digest", "worker_lost"), None)
    for packed in (forged, refused):
        with pytest.raises(VaultLocked):
            codec.unpack_outcome(packed, cipher, required=True)
    assert codec.unpack_outcome(lost, cipher, required=True) == AnalysisFailure("a", "digest", "worker_lost")
    looser = codec.pack_card(CARD, None)
    with pytest.raises(VaultLocked):
        codec.unpack_card(looser, cipher, required=True)
    proof = msgpack.decode(codec.pack_card(CARD, cipher))["proof"]
    moved = msgpack.encode({"card": msgpack.encode(replace(CARD, dimension=17)), "proof": proof})
    with pytest.raises(VaultLocked):
        codec.unpack_card(moved, cipher, required=True)
    assert codec.unpack_card(codec.pack_card(CARD, cipher), cipher, required=True) == CARD

    async def story() -> None:
        plain = RedisJobs(server.url, 4, 60, BUDGET)
        strict = RedisJobs(server.url, 4, 60, BUDGET, cipher, required=True)
        await plain.create(Job("j", "r", "somebody", 0.0, 1, Options()), [Item("one", b"1")], None)
        await plain.put("j", ItemResult(0, analysis=ANALYSIS))
        with pytest.raises(VaultLocked):
            await strict.job("j")
        with pytest.raises(VaultLocked):
            await strict.results("j", 0, 1)
        for store in (plain, strict):
            await store.disconnect()

    asyncio.run(story())


def test_a_forged_answer_reaches_nobody(server: RedisServer) -> None:
    cipher = QueueCipher([KEY])
    worker = RedisConsumer(server.url, "digest", cipher=cipher, required=True)

    async def story() -> None:
        api = RedisProducer(server.url, 8, 1 << 20, None, cipher, required=True)
        await api.start()
        worker.announce(WorkerInfo("w", "digest"), CARD)
        [future] = await api.submit([job("a", noise())])
        [replies] = server.client.scan_iter(f"{PREFIX}replies:*")
        server.client.xadd(replies, {"r": codec.pack_outcome(AnalysisResult("a", "digest", ANALYSIS), None)})
        await asyncio.sleep(0.3)
        assert not future.done()
        [claimed] = await asyncio.to_thread(worker.claim, 1, 2.0)
        await asyncio.to_thread(worker.finish, [AnalysisResult(claimed.id, "digest", NOBODY)])
        assert await asyncio.wait_for(future, 5) == AnalysisResult("a", "digest", NOBODY)
        head, image, left = codec.pack_request(job("b", noise()), None)
        server.client.set(f"{PREFIX}image:b", image)
        fields = {"id": "b", "h": head, "n": len(image), "t": left, "to": replies}
        server.client.xadd(f"{PREFIX}requests:digest", fields)
        assert await asyncio.to_thread(worker.claim, 1, 1.0) == []
        await api.close()

    asyncio.run(story())
    worker.close()
    assert server.left()["images"] == 0


def test_which_key_the_settings_name(tmp_path: Path) -> None:
    text = base64.b64encode(OTHER).decode()
    (tmp_path / "key").write_text(TEXT)
    queue = load_queue_cipher(Settings(queue_key=TEXT))  # type: ignore[arg-type]
    assert queue is not None
    assert queue.key_ids == load_queue_cipher(Settings(queue_key_file=tmp_path / "key", master_key=text)).key_ids  # type: ignore[union-attr,arg-type]
    derived = load_queue_cipher(Settings(master_key=TEXT))  # type: ignore[arg-type]
    assert derived is not None
    assert derived.key_id != queue.key_id, "a worker with the queue's key has not the master key"
    assert derived.key_id == load_queue_cipher(Settings(master_key_file=tmp_path / "key")).key_id  # type: ignore[union-attr]
    both = load_queue_cipher(Settings(queue_key=f"{text},{TEXT}"))  # type: ignore[arg-type]
    assert both is not None
    assert both.key_id != queue.key_id
    assert queue.key_id in both.key_ids
    assert both.decrypt(queue.encrypt(b"x", b"here"), b"here") == b"x"
    missing = Settings(master_key_file=tmp_path / "none" / "key")
    assert load_queue_cipher(missing) is None
    made = load_queue_cipher(missing, create=True)
    assert made is not None
    assert made.key_id == load_queue_cipher(missing).key_id  # type: ignore[union-attr]
    assert load_queue_cipher(Settings()) is None
    for bad in (Settings(queue_key="short"), Settings(queue_key_file=tmp_path / "no")):  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="key"):
            load_queue_cipher(bad)


def test_each_process_seals_under_a_key_of_its_own() -> None:
    first, second = QueueCipher([KEY]), QueueCipher([KEY])
    assert first.encrypt(b"x", b"here")[4:20] != second.encrypt(b"x", b"here")[4:20]
    assert first.decrypt(second.encrypt(b"x", b"here"), b"here") == b"x"
    assert first.key_ids == second.key_ids
