"""Asynchronous jobs on both brokers: bulk uploads, progress, idempotency, deletion, webhooks, a killed API."""

import asyncio
import base64
import io
import json
import re
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from model.runtime.pipeline import AnalyzerConfig
from service.config import Settings
from service.errors import InvalidRequest
from service.ops.metrics import Metrics
from service.outbound import webhooks
from service.outbound.webhooks import Webhooks
from service.worker.loop import Worker, running
from tests.service.listening import QuietHandler, listening
from tests.service.queue.device import Device, photo
from tests.service.queue.processes import PREFIX, Processes, RedisServer, browser, redis_server, until
from tests.service.serving import serve
from tests.service.videos import encode, ramp

API_PAGE = Path(__file__).parents[3] / "docs" / "api.md"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass
class Hook:
    """A listed host, and what it was sent."""

    url: str
    host: str
    seen: list[tuple[dict[str, str], bytes]]
    answers: list[int]


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    seen, answers = list[tuple[dict[str, str], bytes]](), list[int]()

    class Answer(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((dict(self.headers), body))
            self.send_response(answers.pop(0) if answers else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Answer) as host:
        yield Hook(f"http://{host}/hook?x=1", host, seen, answers)


@pytest.fixture(scope="module", params=["local", pytest.param("redis", marks=pytest.mark.slow)])
def client(
    request: pytest.FixtureRequest,
    hook: Hook,
    weights: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """On a Redis of its own: these processes live for all of this file and would take part in other tests' jobs."""
    hooks = {"webhook_hosts": hook.host, "webhook_secret": SECRET}
    if request.param == "redis":
        env = {f"FACE_{name.upper()}": value for name, value in hooks.items()}
        with redis_server() as server:
            processes = Processes(tmp_path_factory.mktemp("processes"), server.url)
            api = processes.api(FACE_JOBS_OPEN="2", FACE_JOB_BYTES="100kB", FACE_JOB_IMAGES_AT_ONCE="3", **env)
            worker = processes.worker(weights)
            until(lambda: worker.ready() and api.ready())
            with browser(base_url=api.url) as client:
                yield client
            processes.stop()
        return
    settings = Settings(jobs_open=2, job_bytes="100kB", job_images_at_once=3, redis_url=None, **hooks)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch, serve(settings) as served:
        patch.setattr(webhooks, "FIRST_PAUSE", 0.05)
        device = Device(AnalyzerConfig(weights=weights, engine="torch"))
        with running(Worker(served.broker, device, settings, served.metrics), 30):
            until(lambda: served.client.get("/readyz").status_code == 200)
            yield served.client


def archive(**files: bytes) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in files.items():
            written.writestr(name, data)
    return into.getvalue()


def start(client: httpx.Client, body: bytes, kind: str = "application/zip", **headers: str) -> httpx.Response:
    return client.post("/v1/jobs", content=body, headers={"Content-Type": kind, **headers})


def finished(client: httpx.Client, answer: httpx.Response, **query: int) -> dict:
    assert answer.status_code == 202, answer.text
    where = answer.headers["Location"]
    until(lambda: client.get(where).json()["status"] == "done")
    return client.get(where, params=query).json()


def test_an_archive_of_photos_has_a_result_for_each(client: httpx.Client) -> None:
    files = {f"photos/{number:02}.png": photo("grey") for number in range(20)}
    files |= {"photos/broken.png": photo("grey")[:40], "photos/notes.txt": b"no photo", "__MACOSX/x": b"hidden"}
    answer = start(client, archive(**files, **{".hidden": b""}))
    job = finished(client, answer)
    assert (job["total"], job["done"], job["failed"]) == (22, 22, 2)
    assert [row["index"] for row in job["results"]] == list(range(22))
    assert [row["name"] for row in job["results"][:2]] == ["photos/00.png", "photos/01.png"]
    assert [row["error"] and row["error"]["code"] for row in job["results"][19:]] == [
        None, "image_broken", "not_an_image",
    ]  # fmt: skip
    analysis = job["results"][0]["analysis"]
    assert (analysis["width"], analysis["height"], analysis["faces"]) == (32, 32, [])
    assert len(job["results"][0]["model"]) == 64
    assert job["created"] <= job["ended"] <= time.time() + 1
    where = answer.headers["Location"]
    page = client.get(where, params={"start": 20, "limit": 1}).json()["results"]
    assert [row["index"] for row in page] == [20]
    assert client.delete(where).status_code == 204
    assert client.get(where).json()["code"] == "job_not_found"


def test_a_long_video_becomes_a_job(client: httpx.Client) -> None:
    scene = encode(ramp(35), rate=1)
    job = finished(client, client.post("/v1/videos", content=scene))
    (result,) = job["results"]
    assert (job["failed"], result["error"]["code"], result["video"]) == (1, "no_face", None)
    assert client.post("/v1/videos", content=encode(ramp(35), rate=5)).json()["code"] == "no_face"


def test_the_calls_of_the_readme(client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "photos.zip").write_bytes(archive(a=photo("grey"), b=photo("grey")))
    post, get = (line for line in API_PAGE.read_text().splitlines() if re.match(r"curl .*/v1/jobs", line))

    def run(line: str) -> str:
        line = line.replace("curl ", "curl --silent --fail ").replace("http://127.0.0.1:8000", str(client.base_url))
        return subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    head, _, body = run(post.replace("order-17", f"order-17 {client.base_url}")).partition("\n\n")
    assert head.startswith("HTTP/1.1 202")
    name = json.loads(body)["id"]
    assert f"/v1/jobs/{name}" in head
    until(lambda: json.loads(run(get.replace("$ID", name)))["status"] == "done")
    assert len(json.loads(run(get.replace("$ID", name)))["results"]) == 2


def test_json_lines_fail_line_by_line(client: httpx.Client) -> None:
    good = base64.b64encode(photo("grey")).decode()
    lines = [{"image": good, "name": "one"}, {"image": "?"}, {"image": good, "more": 1}, {"image": good}, [1]]
    body = "\n".join([*map(json.dumps, lines), "{", ""]).encode()
    job = finished(client, start(client, body, "application/jsonl"))
    assert [row.get("name") for row in job["results"]][:2] == ["one", None]
    codes = [row["error"]["code"] if row["error"] else None for row in job["results"]]
    assert codes == [None, "invalid_request", "invalid_request", None, "invalid_request", "invalid_request"]


def test_the_bodies_of_v1_faces_are_taken_too(client: httpx.Client) -> None:
    job = finished(client, start(client, photo("grey"), "image/png"))
    assert (job["total"], job["failed"]) == (1, 0)
    files = [("f", photo("grey"))] * 3
    job = finished(client, client.post("/v1/jobs?landmarks=false", files=files, data={"max_faces": "3"}))
    assert job["total"] == 3
    assert client.post("/v1/jobs?max_faces=0", content=photo("grey")).status_code == 422


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"PK not", "application/zip", 400, "invalid_archive"),
        (archive(), "application/zip", 422, "no_image"),
        (b"", "application/zip", 400, "invalid_archive"),
        (b"\n\n", "application/jsonl", 422, "no_image"),
        (archive(**{f"{number}": b"" for number in range(1001)}), "application/zip", 413, "too_many_images"),
        (archive(bomb=bytes(50_000_000)), "application/zip", 413, "body_too_large"),
        (archive(a=bytes(60_000), b=bytes(60_000)), "application/zip", 413, "body_too_large"),
        (b"x", "text/plain", 415, "unsupported_content_type"),
    ],
)
def test_what_is_refused_at_once(client: httpx.Client, body: bytes, kind: str, status: int, code: str) -> None:
    answer = start(client, body, kind)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_damaged_or_lying_entry_fails_alone(client: httpx.Client) -> None:
    body = bytearray(archive(a=photo("grey"), b=photo("grey")))
    where = body.index(b"PK\x03\x04") + 40
    body[where : where + 8] = b"\xff" * 8
    job = finished(client, start(client, bytes(body)))
    assert [row["error"] and row["error"]["code"] for row in job["results"]] == ["invalid_archive", None]


def test_the_same_key_is_accepted_once(client: httpx.Client) -> None:
    body, key = archive(a=photo("grey")), {"Idempotency-Key": f"order 1 {client.base_url}"}
    first, second = start(client, body, **key), start(client, body, **key)
    assert first.headers["Location"] == second.headers["Location"]
    assert start(client, body).headers["Location"] != first.headers["Location"]
    other = start(client, archive(a=photo("blue")), **key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    until(lambda: client.get(first.headers["Location"]).json()["status"] == "done")
    assert start(client, body, **key).json()["status"] == "done"
    assert client.delete(first.headers["Location"]).status_code == 204
    again = start(client, body, **key)
    assert again.status_code == 202
    assert again.headers["Location"] != first.headers["Location"]


@pytest.mark.slow
def test_a_running_job_shows_progress_and_can_be_stopped(client: httpx.Client) -> None:
    until(lambda: "face_jobs_open 0.0" in client.get("/metrics").text)
    answers = [start(client, archive(**{f"{n}": photo("blue") for n in range(40)})) for _ in range(2)]
    try:
        assert [answer.status_code for answer in answers] == [202, 202]
        full = start(client, archive(a=photo("grey")))
        assert (full.status_code, full.json()["code"]) == (429, "queue_full")
        assert client.post("/v1/faces", content=photo("grey")).status_code == 200, "who waits is not kept waiting"
        where = answers[0].headers["Location"]
        until(lambda: client.get(where).json()["done"] > 0)
        assert client.get(where).json()["status"] == "running"
    finally:
        for answer in answers:
            assert client.delete(answer.headers["Location"]).status_code == 204
    until(lambda: "face_jobs_open 0.0" in client.get("/metrics").text)
    until(lambda: "face_queue_depth 0.0" in client.get("/metrics").text)


def test_a_webhook_is_signed_and_tried_again(client: httpx.Client, hook: Hook) -> None:
    hook.seen.clear()
    hook.answers[:] = [503, 302]
    answer = client.post("/v1/jobs", params={"webhook": hook.url}, content=photo("grey"))
    job = finished(client, answer)
    until(lambda: len(hook.seen) == 3, 20)
    headers, body = hook.seen[-1]
    assert json.loads(body) == {name: job[name] for name in ("id", "status", "total", "done", "failed")}
    assert Webhook(SECRET).verify(body, headers) == json.loads(body)
    assert {seen["webhook-id"] for seen, _ in hook.seen} == {job["id"]}, "a repetition is known as one"
    until(lambda: 'face_webhooks_total{outcome="delivered"}' in client.get("/metrics").text)


@pytest.mark.parametrize(
    "url", ["http://example.org/", "https://127.0.0.1:1/", "file:///etc/passwd", "http://u@127.0.0.1/", "http://[", "x"]
)
def test_a_webhook_to_a_host_that_is_not_listed(client: httpx.Client, url: str) -> None:
    answer = client.post("/v1/jobs", params={"webhook": url}, content=photo("grey"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_webhooks_are_off_unless_hosts_are_listed_and_private_addresses_are_not_meant_by_names(hook: Hook) -> None:
    with pytest.raises(InvalidRequest, match="no URLs"):
        Webhooks((), "", Metrics()).check("https://example.org/")
    with pytest.raises(ValueError, match="whsec_"):
        Webhooks(("example.org",), "a secret", Metrics())
    with pytest.raises(ValueError, match="FACE_WEBHOOK_SECRET"):
        Settings(webhook_hosts="example.org")  # type: ignore[arg-type]
    port = hook.host.partition(":")[2]
    named, listed = (f"localhost:{port}",), (f"localhost:{port}", "127.0.0.1")
    hook.seen.clear()
    hook.answers.clear()
    url = f"http://localhost:{port}/"
    Webhooks(named, SECRET, Metrics()).check(url)
    assert not asyncio.run(Webhooks(named, SECRET, Metrics()).deliver(url, {}, "job-1"))
    assert not hook.seen
    assert asyncio.run(Webhooks(listed, SECRET, Metrics()).deliver(url, {}, "job-1"))
    assert len(hook.seen) == 1


@pytest.mark.slow
def test_another_process_goes_on_with_the_job_of_one_that_was_killed(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    first, second = processes.api(), processes.api()
    worker = processes.worker(weights, FACE_TEST_SECONDS="0.2", FACE_BATCH_IMAGES="1")
    until(lambda: worker.ready() and first.ready() and second.ready())
    with browser(base_url=first.url) as client:
        where = start(client, archive(**{f"{n}": photo("grey") for n in range(30)})).headers["Location"]
        until(lambda: client.get(where).json()["done"] > 2)
    first.kill()
    assert second.get(where).json()["status"] == "running"
    until(lambda: second.get(where).json()["status"] == "done", 60)
    job = second.get(where).json()
    assert (job["total"], job["done"], job["failed"]) == (30, 30, 0)
    assert [row["index"] for row in job["results"]] == list(range(30))
    until(lambda: not server.client.zcard("face:jobs:open"))
    assert all(server.client.pttl(key) > 0 for key in server.client.scan_iter("face:jobs:*"))


@pytest.mark.slow
def test_a_photo_on_which_workers_die_becomes_a_dead_letter_and_the_job_goes_on(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    api = processes.api()
    workers = [processes.worker(weights, FACE_QUEUE_DELIVERIES="2", FACE_BATCH_IMAGES="1") for _ in range(3)]
    until(lambda: api.ready() and all(worker.ready() for worker in workers))
    with browser(base_url=api.url) as client:
        files = {f"{number}.png": photo("red" if number == 2 else "grey") for number in range(6)}
        job = finished(client, start(client, archive(**files)))
    codes = [(row.get("error") or {}).get("code") for row in job["results"]]
    assert codes == [None, None, "worker_lost", None, None, None]
    [(_, letter)] = server.client.xrange(f"{PREFIX}dead_letters")
    assert letter[b"deliveries"] == b"2"
    assert sum(worker.ended(5) is not None for worker in workers) == 2


@pytest.mark.slow
def test_a_process_held_up_for_longer_than_its_lease_hands_no_photo_out_twice(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    api = processes.api(FACE_QUEUE_DELIVERIES="1", FACE_JOB_IMAGES_AT_ONCE="3")
    worker = processes.worker(weights, FACE_BATCH_IMAGES="1")
    until(lambda: api.ready() and worker.ready())
    with browser(base_url=api.url) as client:
        answer = start(client, archive(**{f"{number}": photo("blue") for number in range(10)}))
        job_id = answer.headers["Location"].rpartition("/")[2]
        while client.get(answer.headers["Location"]).json()["status"] != "done":
            server.client.zadd("face:jobs:open", {job_id: 1}, xx=True)  # the lease has ended
            time.sleep(0.05)
        job = finished(client, answer)
    assert "job adopted" in api.log.read_text()
    assert [row.get("error") for row in job["results"]] == [None] * 10
    assert not server.client.exists(f"{PREFIX}dead_letters")


@pytest.mark.slow
def test_a_photo_during_which_api_processes_are_lost_becomes_a_dead_letter_and_the_job_goes_on(
    server: RedisServer, processes: Processes, weights: Path
) -> None:
    settings = {"FACE_QUEUE_DELIVERIES": "1", "FACE_JOB_IMAGES_AT_ONCE": "1"}
    first = processes.api(**settings)
    worker = processes.worker(weights)
    until(lambda: worker.ready() and first.ready())
    worker.kill()  # what is handed out from now on stays under work
    with browser(base_url=first.url) as client:
        where = start(client, archive(a=photo("grey"), b=photo("grey"), c=photo("grey"))).headers["Location"]
    handed_out = f"face:jobs:{where.rpartition('/')[2]}:deliveries"
    until(lambda: server.client.hgetall(handed_out) == {b"0": b"1"})
    first.kill()
    second = processes.api(**settings)
    until(processes.worker(weights).ready)
    until(lambda: second.get(where).json()["status"] == "done", 60)
    results = second.get(where).json()["results"]
    assert [(row.get("error") or {}).get("code") for row in results] == ["worker_lost", None, None]
    letters = [fields for _, fields in server.client.xrange(f"{PREFIX}dead_letters")]
    assert len(letters) == 1
