"""A change of the model with real networks: while people are enrolled again the old one serves, and nobody is lost."""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from model import checkpoint
from service.client import Client
from service.queue.by_model import ByModel
from service.queue.local import LocalQueue
from tests.conftest import write_tiny_checkpoint
from tests.converted import with_converted_networks
from tests.ports import free_port
from tests.service.gallery.served import calibration, card, info
from tests.service.queue.processes import RedisServer

pytestmark = pytest.mark.slow

PEOPLE = 5
COLOURS = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]])
STAFF = "/v1/collections/staff"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny networks that see a face in everything, with what their scores mean: the old and the new."""
    folder = tmp_path_factory.mktemp("two")
    return sure(folder / "old.safetensors", 0), sure(folder / "new.safetensors", 1)


def sure(path: Path, seed: int) -> Path:
    tiny = checkpoint.load(write_tiny_checkpoint(path.with_suffix(".tiny"), face_logit=10.0, seed=seed))
    proposals = tiny.part("proposals")
    proposals["out.bias"][0] = 3.0
    config = tiny.config | {"calibration": calibration().as_dict()}
    checkpoint.save(path, {"network": tiny.part("network"), "proposals": proposals}, config)
    return path


def digest(path: Path) -> str:
    return checkpoint.load(path).digest


def portrait(person: int) -> bytes:
    """A person's own colour in spots that are a little brighter or darker.

    The colours are far apart, since networks with random weights hardly tell photos of random colours from each other:
    two such photos had a cosine of more than 0.999999, and which of them was found hung on the last digit.
    """
    spots = np.random.default_rng(person).integers(-60, 61, (8, 8, 3))
    pixels = np.clip(COLOURS[person % len(COLOURS)] + spots, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".png", cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_NEAREST))[1])


class Service:
    """A process of `allinone-face`, once it is ready."""

    def __init__(self, folder: Path, command: str, **env: str | Path) -> None:
        port = str(free_port())
        self.url, self._log = f"http://127.0.0.1:{port}", (folder / f"{command}-{port}.log").open("w+")
        data = with_converted_networks(folder)
        own = {"OMP_NUM_THREADS": "1", "FACE_DATA_DIR": str(data), "FACE_HOST": "127.0.0.1"}
        own["FACE_METRICS_PORT" if command == "worker" else "FACE_PORT"] = port
        words = [sys.executable, "-m", "service", command]
        env_all = os.environ | own | {name: str(value) for name, value in env.items()}
        self._process = subprocess.Popen(words, env=env_all, stdout=self._log, stderr=self._log)
        end = time.monotonic() + 300
        while not self._answers():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.1)
        self.client = httpx.Client(base_url=self.url, timeout=100)

    def log(self) -> str:
        return Path(self._log.name).read_text()

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        assert self._process.wait(60) in (0, -15), self.log()
        self._log.close()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def running(folder: Path, command: str, **env: str | Path) -> Iterator[Service]:
    service = Service(folder, command, **env)
    try:
        yield service
    finally:
        service.stop()


def wait_for(service: Service, model: str) -> None:
    """Until this model answers."""
    end = time.monotonic() + 60
    while (found := service.client.get("/v1/model").json()).get("digest") != model:
        assert time.monotonic() < end, found
        time.sleep(0.1)


def enrol(client: httpx.Client, person: int, collection: str = STAFF) -> dict:
    answer = client.post(
        f"{collection}/subjects/p{person}/media",
        params={"create": True, "min_quality": 0, "face": "largest"},
        content=portrait(person),
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def search(client: httpx.Client, person: int) -> dict:
    answer = client.post(f"{STAFF}/search", content=portrait(person))
    assert answer.status_code == 200, answer.text
    return answer.json()


class Searching(threading.Thread):
    """Somebody who never stops searching; `models` answered, in order."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.over = url, threading.Event()
        self.models: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=100) as client:
            while not self.over.is_set():
                person = len(self.models) % PEOPLE
                answer = client.post(f"{STAFF}/search", content=portrait(person))
                if answer.status_code != 200 or answer.json()["matches"][0]["subject"] != f"p{person}":
                    self.failures.append(answer.text)
                    return
                self.models.append(answer.json()["model"])


def move(asked: httpx.Client, watched: Service, old: str, new: str) -> None:
    """Re-enrol through one API while another is searched; then all are there under the new model."""
    searching = Searching(watched.url)
    searching.start()
    try:
        end = time.monotonic() + 300
        while len(searching.models) < 2 and not searching.failures:
            assert time.monotonic() < end
            time.sleep(0.05)
        moved = asked.post(f"{STAFF}/re-enrol").json()
        seen = len(searching.models)
        while len(searching.models) < seen + 2 and not searching.failures:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        searching.over.set()
        searching.join()
    assert searching.failures == []
    assert moved == {"done": True, "moved": PEOPLE, "must_come_again": [], "model": new}
    assert searching.models == sorted(searching.models, key=[old, new].index), "the old one, then the new one"
    assert {searching.models[0], searching.models[-1]} == {old, new}
    with Client(watched.url) as faces:
        assert sorted(s.id for s in faces.subjects("staff")) == sorted(f"p{p}" for p in range(PEOPLE))


@pytest.mark.timeout(900)
def test_one_machine_changes_its_model_while_it_serves(weights: tuple[Path, Path], tmp_path: Path):
    old, new = weights
    with running(tmp_path, "serve", FACE_WEIGHTS=old) as before:
        wait_for(before, digest(old))
        assert before.client.put(STAFF, json={"keep_photos": True}).status_code == 201
        assert before.client.put("/v1/collections/passers-by").status_code == 201
        for person in range(PEOPLE - 1):
            enrol(before.client, person)
        enrol(before.client, 50, "/v1/collections/passers-by")
        template = before.client.post("/v1/templates", content=portrait(3)).json()["template"]
    with running(tmp_path, "serve", FACE_WEIGHTS=new) as alone:
        wait_for(alone, digest(new))
        refused = alone.client.post(f"{STAFF}/search", content=portrait(0))
        assert (refused.status_code, refused.json()["code"]) == (409, "model_mismatch")
    with running(tmp_path, "serve", FACE_WEIGHTS=new, FACE_OLD_WEIGHTS=old) as both:
        wait_for(both, digest(new))
        assert search(both.client, 3)["model"] == digest(old)
        told = enrol(both.client, PEOPLE - 1)
        assert (told["model"], told["subject"]["model"]) == (digest(old), digest(old))
        assert both.client.put(STAFF).json()["current"] is False
        fresh = both.client.put("/v1/collections/fresh")
        assert (fresh.status_code, fresh.json()["model"]) == (201, digest(new))
        same = both.client.post("/v1/compare", data={"template": json.dumps(template)}, files={"p": portrait(3)}).json()
        assert (same["matched"], same["model"]) == (True, digest(old))
        assert both.client.post("/v1/templates", content=portrait(3)).json()["template"]["model"] == digest(new)
        for kept, code in (("fresh", "model_mismatch"), ("staff", None)):
            answer = both.client.post(f"/v1/collections/{kept}/search", json={"template": template}).json()
            assert answer.get("code") == code
        move(both.client, both, digest(old), digest(new))
        assert both.client.get(STAFF).json()["current"] is True
        left = both.client.post("/v1/collections/passers-by/re-enrol").json()
        assert (left["done"], left["must_come_again"]) == (False, ["p50"])
        verify = "/v1/collections/passers-by/subjects/p50/verify"
        assert both.client.post(verify, content=portrait(50)).json()["model"] == digest(old)
    with running(tmp_path, "serve", FACE_WEIGHTS=new) as after:
        wait_for(after, digest(new))
        for person in range(PEOPLE):
            best, second = search(after.client, person)["matches"][:2]
            assert (best["subject"], best["similarity"]) == (f"p{person}", pytest.approx(1.0, abs=1e-4))
            assert second["similarity"] < 0.9995, "the photos tell the people apart"


@pytest.mark.timeout(900)
def test_workers_of_two_models_side_by_side(weights: tuple[Path, Path], shared_redis: RedisServer, tmp_path: Path):
    old, new = weights
    shared_redis.client.flushall()
    env = {"FACE_REDIS_URL": shared_redis.url}
    with ExitStack() as stack:
        public = stack.enter_context(running(tmp_path, "api", FACE_MODEL_DIGEST=digest(old), **env))
        stack.enter_context(running(tmp_path, "worker", FACE_WEIGHTS=old, **env))
        wait_for(public, digest(old))
        assert public.client.put(STAFF, json={"keep_photos": True}).status_code == 201
        for person in range(PEOPLE):
            enrol(public.client, person)
        with running(tmp_path, "worker", FACE_WEIGHTS=new, **env):
            mine = stack.enter_context(running(tmp_path, "api", FACE_MODEL_DIGEST=digest(new), **env))
            wait_for(mine, digest(new))
            assert search(mine.client, 2)["model"] == digest(old), "whichever model an API process is for"
            move(mine.client, public, digest(old), digest(new))
            for service in (public, mine):
                assert search(service.client, 5)["model"] == digest(new)


def test_the_old_weights_may_be_the_same_or_missing(weights: tuple[Path, Path], tmp_path: Path):
    old, _ = weights
    with running(tmp_path, "serve", FACE_WEIGHTS=old, FACE_OLD_WEIGHTS=old) as same:
        wait_for(same, digest(old))
        assert "not loaded twice" in same.log()
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0", "--weights", str(old)],
        env=os.environ | {"FACE_OLD_WEIGHTS": str(tmp_path / "gone.safetensors")},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no checkpoint at" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("first", ["a", "b"])
def test_nothing_is_ready_before_both_models_are(first: str):
    """The old model does not answer in the new one's place, and its collections are not refused meanwhile."""

    async def story() -> None:
        main = LocalQueue(4, 1 << 20)
        second = LocalQueue(4, 1 << 20)
        both = ByModel(main, second, "b" * 64)
        await both.start()
        queues = {"a": main, "b": second}
        queues.pop(first).announce(info(first * 64), card(first * 64))
        assert (await both.workers(), await both.ready()) == ([], False)
        for letter, queue in queues.items():
            queue.announce(info(letter * 64), card(letter * 64))
        assert [worker.model[0] for worker in await both.workers()] == ["b", "a"]
        assert await both.ready()
        await both.close()

    asyncio.run(story())
