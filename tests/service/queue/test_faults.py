"""What breaks, with real processes: every accepted request gets one answer or a clear error, and nothing is left."""

import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.service.queue.device import photo
from tests.service.queue.processes import NOTHING, PREFIX, Processes, RedisServer, Started, redis_server, until

pytestmark = pytest.mark.slow


def post(api: Started, colour: str = "grey", **query: object) -> httpx.Response:
    return api.post("/v1/faces", params=query, content=photo(colour))


def many(api: Started, number: int, crowd: ThreadPoolExecutor, colour: str = "grey") -> list[Future[httpx.Response]]:
    return [crowd.submit(post, api, colour) for _ in range(number)]


def codes(jobs: list[Future[httpx.Response]]) -> Counter[int]:
    return Counter(job.result().status_code for job in jobs)


@pytest.fixture
def crowd():
    with ThreadPoolExecutor(32) as pool:
        yield pool


def held(server: RedisServer) -> int:
    return server.left()["pending"]


def wait_until_accepted(server: RedisServer, jobs: list[Future[httpx.Response]]) -> None:
    """Each lies in the queue or is answered: what is still on its way may be refused when something stops."""
    until(lambda: server.left()["jobs"] + sum(job.done() for job in jobs) >= len(jobs))


def test_a_worker_is_killed_while_it_holds_work(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    """Of what it held each goes through the other alone: it may be what the first one died on."""
    api = processes.api()
    settings = {"FACE_TEST_SECONDS": "0.05", "FACE_BATCH_IMAGES": "4"}
    first, second = (processes.worker(weights, **settings) for _ in range(2))
    until(lambda: first.ready() and second.ready() and api.ready())
    jobs = many(api, 48, crowd)
    until(lambda: held(server) > 8)
    first.kill()
    assert codes(jobs) == {200: 48}
    until(lambda: server.left() == NOTHING)
    models = {job.result().json()["model"] for job in jobs}
    assert len(models) == 1


def test_an_image_that_kills_its_worker_harms_no_neighbour_and_becomes_a_dead_letter(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api = processes.api(FACE_TIMEOUT="60")
    workers = [processes.worker(weights, FACE_QUEUE_DELIVERIES="2") for _ in range(3)]
    until(lambda: api.ready() and all(worker.ready() for worker in workers))
    slow = many(api, 3, crowd, "blue")
    until(lambda: held(server) > 0)
    jobs = many(api, 24, crowd)
    bad = crowd.submit(post, api, "red")
    jobs += many(api, 24, crowd)
    assert codes(jobs) == {200: 48}
    assert codes(slow) == {200: 3}
    assert (bad.result().status_code, bad.result().json()["code"]) == (500, "worker_lost")
    assert sum(not worker.process.is_alive() for worker in workers) == 2
    until(lambda: server.left() == NOTHING)
    [(_, letter)] = server.client.xrange(f"{PREFIX}dead_letters")
    assert letter[b"i"] == photo("red")


def test_an_image_that_the_device_refuses_harms_no_neighbour(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    slow = many(api, 1, crowd, "blue")
    until(lambda: held(server) > 0)
    jobs, bad = many(api, 10, crowd), crowd.submit(post, api, "green")
    jobs += many(api, 10, crowd)
    assert codes(jobs + slow) == {200: 21}
    assert (bad.result().status_code, bad.result().json()["code"]) == (500, "analysis_failed")
    assert not server.client.exists(f"{PREFIX}dead_letters")
    until(lambda: server.left() == NOTHING)


def test_an_api_process_is_killed_and_its_work_goes(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api, other = processes.api(), processes.api()
    worker = processes.worker(weights, FACE_BATCH_IMAGES="1")
    until(lambda: api.ready() and other.ready())
    lost = many(api, 20, crowd, "blue")
    until(lambda: held(server) > 0)
    [stream] = [
        name for name in server.client.scan_iter(f"{PREFIX}replies:*")
        if server.client.xrange(f"{PREFIX}requests:{model_of(other)}", count=1)[0][1][b"to"] == name
    ]  # fmt: skip
    api.kill()
    server.client.pexpire(stream, 1)  # the lease of ten seconds, over at once
    assert all(isinstance(job.exception(), httpx.TransportError) for job in lost)
    answers = many(other, 4, crowd)
    assert codes(answers) == {200: 4}
    until(lambda: server.left() == NOTHING, 10)  # 20 of a second each, if they were done
    assert not server.client.exists(stream)
    assert worker.process.is_alive()


def model_of(api: Started) -> str:
    return str(api.get("/v1/model").json()["digest"])


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "forgotten"])
def test_redis_restarts(
    start_on: Callable[[RedisServer], Processes], weights: Path, crowd: ThreadPoolExecutor, kept: bool
) -> None:
    with redis_server("--appendonly", "yes" if kept else "no", "--appendfsync", "always") as server:
        processes = start_on(server)
        api, worker = processes.api(), processes.worker(weights, FACE_TEST_SECONDS="0.2")
        until(lambda: api.ready() and worker.ready())
        jobs = many(api, 12, crowd)
        wait_until_accepted(server, jobs)
        until(lambda: held(server) > 0)
        server.stop()
        assert api.get("/livez").status_code == 200
        assert api.get("/readyz").status_code == 503
        assert api.get("/metrics").status_code == 200
        assert (post(api).status_code, post(api).json()["code"]) == (503, "not_ready")
        server.start()
        found = codes(jobs)
        assert found == {200: 12} if kept else set(found) <= {200, 503}, found
        until(api.ready)
        assert post(api).status_code == 200
        until(lambda: server.left() == NOTHING)
        assert worker.process.is_alive()


def test_told_to_stop_a_worker_finishes_what_it_holds_and_leaves_the_rest(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api = processes.api()
    first, second = (processes.worker(weights, FACE_TEST_SECONDS="0.05", FACE_QUEUE_LEASE="60") for _ in range(2))
    until(lambda: first.ready() and second.ready() and api.ready())
    jobs = many(api, 60, crowd)
    until(lambda: held(server) > 8)
    first.terminate()
    assert first.ended() == 0
    assert codes(jobs) == {200: 60}
    assert server.left() == NOTHING, "nothing waits for a lease"
    assert api.get("/v1/model").json()["workers"] == 1
    [row] = server.client.xinfo_consumers(f"{PREFIX}requests:{model_of(api)}", "workers")
    assert row["pending"] == 0


def test_told_to_stop_an_api_process_answers_what_it_accepted(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api, worker = processes.api(), processes.worker(weights, FACE_TEST_SECONDS="0.1")
    until(lambda: api.ready() and worker.ready())
    jobs = many(api, 16, crowd)
    wait_until_accepted(server, jobs)
    api.terminate()
    assert codes(jobs) == {200: 16}
    assert api.ended() in (0, -signal.SIGTERM)
    assert not list(server.client.scan_iter(f"{PREFIX}replies:*"))


def test_two_models_never_share_a_request_and_the_majority_answers(
    server: RedisServer, processes: Processes, weights: Path, other_weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api = processes.api()
    old = processes.worker(weights)
    until(lambda: api.ready() and old.ready())
    before = model_of(api)
    jobs = many(api, 10, crowd)
    new = [processes.worker(other_weights) for _ in range(2)]
    until(lambda: all(worker.ready() for worker in new))
    until(lambda: model_of(api) != before)
    after = model_of(api)
    pinned = processes.api(FACE_MODEL_DIGEST=before)
    lonely = processes.api(FACE_MODEL_DIGEST="f" * 64)
    files = [("f", photo("grey"))] * 8
    answers = [crowd.submit(api.post, "/v1/faces", files=files) for _ in range(8)]
    assert {job.result().json()["model"] for job in answers} == {after}
    assert {job.result().json()["model"] for job in jobs} <= {before, after}
    assert post(pinned).json()["model"] == before
    assert lonely.get("/readyz").status_code == 503
    assert post(lonely).status_code == 503
    old.terminate()
    assert old.ended() == 0
    until(lambda: not pinned.ready())
    assert post(pinned).status_code == 503
    assert post(api).json()["model"] == after


def test_a_client_that_stops_reading_or_leaves_keeps_no_one_from_his_answer(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    silent, body = [], photo("grey")
    host, port = api.url.removeprefix("http://").split(":")
    head = f"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for _ in range(20):
        silent.append(socket.create_connection((host, int(port))))
        silent[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        silent[-1].sendall((head + body) * 20)  # pipelined; it reads none of the answers
    for _ in range(5):
        with socket.create_connection((host, int(port))) as leaving:
            leaving.sendall(head + photo("blue"))
    assert codes(many(api, 40, crowd)) == {200: 40}
    until(lambda: server.left() == NOTHING)
    for connection in silent:
        connection.close()


def test_a_request_that_is_too_late_is_told_so_and_not_done(
    server: RedisServer, processes: Processes, weights: Path, crowd: ThreadPoolExecutor
) -> None:
    api, worker = processes.api(FACE_TIMEOUT="1.5"), processes.worker(weights, FACE_BATCH_IMAGES="1")
    until(lambda: api.ready() and worker.ready())
    jobs = many(api, 12, crowd, "blue")
    found = codes(jobs)
    assert found[504] >= 8
    assert set(found) <= {200, 504}
    until(lambda: server.left() == NOTHING)
    done = [line for line in worker.get("/metrics").text.splitlines() if line.startswith("face_images_total ")]
    assert float(done[0].split()[1]) <= 4, "late work is skipped"


def test_a_clock_that_jumps(server: RedisServer, processes: Processes, weights: Path) -> None:
    """Redis' clock is the only one that counts; after a jump back its streams go on from the latest id they have."""
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    stream = f"{PREFIX}requests:{model_of(api)}"
    hour = 3_600_000
    for jump in (hour, 24 * hour):
        ahead = round(1000 * time.time()) + jump
        entry = server.client.xadd(stream, {"h": b"?", "t": 1, "to": ""}, id=f"{ahead}-0")
        until(lambda entry=entry: not server.client.xrange(stream, entry, entry))  # no job: refused, and gone
        answer = post(api)
        assert answer.status_code == 200
        assert answer.json()["timings_ms"]["queue_wait"] >= 0
    assert server.left() == NOTHING


def test_what_is_no_job_is_put_away_and_answered(server: RedisServer, processes: Processes, weights: Path) -> None:
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    stream = f"{PREFIX}requests:{model_of(api)}"
    for fields in (
        {"x": "y"},
        {"id": "1", "h": b"\xc1", "n": "1", "t": "1", "to": "x"},
        {"id": "2", "h": b"\x80", "n": "x", "t": "now", "to": ""},
        {"h": b"\x80", "t": "now", "to": ""},
    ):
        if "id" in fields:
            server.client.set(f"{PREFIX}image:{fields['id']}", b"i")
        server.client.xadd(stream, fields)
    assert post(api).status_code == 200
    until(lambda: server.client.xlen(stream) == 0)
    assert server.left()["images"] == 0
    assert worker.process.is_alive()
