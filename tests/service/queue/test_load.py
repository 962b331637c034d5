"""Many requests: nothing leaks, a full queue says so at once, batches form."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.queue.device import photo
from tests.service.queue.processes import NOTHING, PREFIX, Processes, RedisServer, Started, browser, until

pytestmark = pytest.mark.slow


def figure(text: str, name: str) -> float:
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).rsplit(" ", 1)[1])


def files_open(started: Started) -> int:
    return len(list(Path(f"/proc/{started.process.pid}/fd").iterdir()))


def memory(started: Started) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{started.process.pid}/statm").read_text().split()[1]) * 4096


CLIENTS = 16


def ask(api: Started, number: int, threads: int = CLIENTS, colour: str = "grey") -> Counter[int]:
    body = photo(colour, 64)

    def one(share: int) -> list[int]:
        with browser() as client:
            return [client.post(f"{api.url}/v1/faces", content=body).status_code for _ in range(share)]

    with ThreadPoolExecutor(threads) as pool:
        return Counter(code for found in pool.map(one, [number // threads] * threads) for code in found)


@pytest.mark.timeout(600)
def test_two_thousand_requests_leave_nothing(server: RedisServer, processes: Processes, weights: Path) -> None:
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    assert ask(api, 160) == {200: 160}
    before = {"api": (files_open(api), memory(api)), "worker": (files_open(worker), memory(worker))}
    keys = set(server.client.scan_iter("*"))
    assert ask(api, 2000) == {200: 2000}
    until(lambda: server.left() == NOTHING)
    assert set(server.client.scan_iter("*")) == keys
    for name, started in (("api", api), ("worker", worker)):
        files, resident = before[name]
        # The API keeps a connection to Redis for as many clients as ever came together: perhaps fewer did before.
        until(lambda started=started, files=files: files_open(started) <= files + CLIENTS)
        assert memory(started) - resident < 16 << 20, name
    shown, theirs = api.get("/metrics").text, worker.get("/metrics").text
    assert figure(theirs, "face_images_total") == 2160
    assert figure(theirs, "face_batch_size_count") < 2160, "requests of several clients went together"
    assert figure(shown, "face_queue_depth") == 0
    assert figure(shown, "face_worker_up") == 1


def test_a_full_queue_refuses_at_once_and_answers_what_it_took(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    api = processes.api(FACE_QUEUE_SIZE="8")
    worker = processes.worker(weights, FACE_BATCH_IMAGES="1")
    until(lambda: api.ready() and worker.ready())

    def post(colour: str) -> httpx.Response:
        return api.post("/v1/faces", content=photo(colour))

    with ThreadPoolExecutor(8) as pool:
        accepted = [pool.submit(post, "blue") for _ in range(8)]
        until(lambda: server.left()["jobs"] == 8)
        refused = post("grey")
        assert not all(job.done() for job in accepted), "it did not wait for the work of others"
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["Retry-After"]) >= 1
        several = api.post("/v1/faces", files=[("f", photo("grey"))] * 9)
        assert several.status_code == 429, "all of a request or nothing"
        assert [job.result().status_code for job in accepted] == [200] * 8
    assert figure(api.get("/metrics").text, 'face_rejected_total{reason="queue_full"}') == 2
    until(lambda: server.left() == NOTHING)
    assert post("grey").status_code == 200


def test_request_ids_reach_the_worker_and_logs_hold_nothing_of_the_photo(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    files = {"file": ("Ada Lovelace.png", photo("grey"), "image/png")}
    marked = {"X-Request-ID": "from-the-edge"}
    assert api.post("/v1/faces", files=files, headers=marked).status_code == 200
    files = {"file": ("Ada Lovelace.png", photo("green"), "image/png")}
    assert api.post("/v1/faces", files=files, headers=marked).status_code == 500
    lines = [json.loads(line) for line in worker.log.read_text().splitlines()]
    seen = [line for line in lines if "from-the-edge" in line.get("request_ids", [])]
    assert {line["message"] for line in seen} == {"batch done", "a step of the analysis failed"}
    for log in (api.log.read_text(), worker.log.read_text()):
        assert "Ada" not in log
        assert "PNG" not in log
    assert server.left() == NOTHING
    assert not server.client.exists(f"{PREFIX}dead_letters")
