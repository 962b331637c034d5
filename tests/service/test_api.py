"""The API over HTTP with the test in the worker's place: bodies, options, errors, headers, queue, leavers."""

import base64
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from service.broker import Job, Result, WorkerInfo
from service.config import Settings
from tests.service.serving import Served, answering, nothing_found, serve, until
from tests.service.test_images import png_header

SMALL = {"max_bytes": 100_000, "max_request_bytes": 200_000, "max_pixels": 10_000, "max_images": 3, "timeout": 5}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with serve(Settings(**SMALL)) as served, answering(served.broker, nothing_found) as seen:
        served.seen = seen
        yield served


def is_problem(response: httpx.Response, status: int, code: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    return body


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_one_image_by_each_way_in(served: Served, tiny_png: bytes) -> None:
    post = served.client.post
    answers = [
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "image/png"}),
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "application/octet-stream"}),
        post("/v1/faces", content=tiny_png),
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        post("/v1/faces", files={"file": ("secret name.png", tiny_png, "image/png")}),
        post("/v1/faces", json={"image": b64(tiny_png)}),
        post("/v1/faces", json={"image": "data:image/png;base64," + b64(tiny_png)}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["width"], body["height"], body["faces"], body["model"]) == (8, 6, [], "0" * 64)
        assert body["timings_ms"]["decode"] == 1.0
        assert body["timings_ms"]["total"] > 0
        assert answer.headers["cache-control"] == "no-store"


def test_several_images_come_back_in_order_and_one_bad_file_stalls_none(served: Served, tiny_png: bytes) -> None:
    files = [("a", ("1", tiny_png)), ("b", ("2", b"not an image")), ("c", ("3", tiny_png))]
    for answer in (
        served.client.post("/v1/faces", files=files),
        served.client.post("/v1/faces", json={"images": [b64(data) for _, (_, data) in files]}),
    ):
        assert answer.status_code == 200
        first, second, third = answer.json()["images"]
        assert first == third == {"width": 8, "height": 6, "faces": []}
        assert second["error"]["code"] == "not_an_image"
        assert second["error"]["status"] == 415
        assert answer.json()["model"] == "0" * 64


def test_a_list_of_one_stays_a_list_and_all_bad_is_no_failure_of_ours(served: Served, tiny_png: bytes) -> None:
    assert len(served.client.post("/v1/faces", json={"images": [b64(tiny_png)]}).json()["images"]) == 1
    answer = served.client.post("/v1/faces", json={"images": [b64(b"no"), b64(b"image")]})
    assert answer.status_code == 200
    assert answer.json()["model"] is None
    assert [entry["error"]["code"] for entry in answer.json()["images"]] == ["not_an_image"] * 2


def test_options_from_query_form_and_json(served: Served, tiny_png: bytes) -> None:
    post = served.client.post
    query = "/v1/faces?max_faces=7&min_size=30.5&descriptor=true"
    post(query, content=tiny_png)
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.min_size, chosen.descriptor, chosen.landmarks) == (7, 30.5, True, True)
    assert chosen.min_score is None
    post(query, files={"file": tiny_png}, data={"max_faces": "3", "landmarks": "false"})
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.min_size, chosen.descriptor, chosen.landmarks) == (3, 30.5, True, False)
    post(query, json={"image": b64(tiny_png), "descriptor": False, "min_score": 0.25})
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.descriptor, chosen.min_score) == (7, False, 0.25)


@pytest.mark.parametrize(
    "query",
    ["max_faces=0", "max_faces=many", "min_score=2", "descriptor=maybe", "min_size=-1", "nonsense=1", "min_size=nan"],
)
def test_bad_query_options(served: Served, tiny_png: bytes, query: str) -> None:
    body = is_problem(served.client.post(f"/v1/faces?{query}", content=tiny_png), 422, "invalid_request")
    assert query.partition("=")[0] in body["detail"]


@pytest.mark.parametrize(
    "fields", [{"max_faces": True}, {"descriptor": "false"}, {"descriptor": 1}, {"min_size": "big"}, {"nonsense": 1}]
)
def test_bad_json_options(served: Served, tiny_png: bytes, fields: dict) -> None:
    body = is_problem(served.client.post("/v1/faces", json={"image": b64(tiny_png)} | fields), 422, "invalid_request")
    assert next(iter(fields)) in body["detail"]


def huge_header() -> bytes:
    return png_header(50_000, 50_000)


@pytest.mark.parametrize(
    ("how", "status", "code"),
    [
        ({"content": b""}, 422, "no_image"),
        ({"content": b"not an image", "headers": {"Content-Type": "image/png"}}, 415, "not_an_image"),
        ({"content": b"hello", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_content_type"),
        ({"content": b"x", "headers": {"Content-Encoding": "gzip"}}, 415, "unsupported_content_type"),
        ({"content": huge_header()}, 413, "image_too_large"),
        ({"content": huge_header()[:20]}, 422, "image_broken"),
        ({"content": b"\xff\xd8\xff" + bytes(120_000)}, 413, "body_too_large"),
        ({"content": bytes(300_000)}, 413, "body_too_large"),
        ({"content": bytes(5_000_000)}, 413, "body_too_large"),
        ({"content": (bytes(10_000) for _ in range(40))}, 413, "body_too_large"),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        ({"content": b"\xff\xfe", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        ({"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        ({"json": []}, 422, "invalid_request"),
        ({"json": {}}, 422, "no_image"),
        ({"json": {"image": "a", "images": []}}, 422, "no_image"),
        ({"json": {"images": []}}, 422, "no_image"),
        ({"json": {"images": "text"}}, 422, "invalid_request"),
        ({"json": {"image": 5}}, 422, "invalid_request"),
        ({"json": {"image": "***"}}, 422, "invalid_request"),
        ({"json": {"image": ""}}, 422, "no_image"),
        ({"json": {"images": ["aGk="] * 4}}, 413, "too_many_images"),
        ({"files": [("f", b"1"), ("f", b"2"), ("f", b"3"), ("f", b"4")]}, 413, "too_many_images"),
        ({"content": b"--", "headers": {"Content-Type": "multipart/form-data"}}, 400, "invalid_multipart"),
        ({"content": b"??", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, 400, "invalid_multipart"),
        ({"data": {"a": "b"}, "files": {}}, 415, "not_an_image"),
    ],
)
def test_bad_bodies(served: Served, how: dict, status: int, code: str) -> None:
    is_problem(served.client.post("/v1/faces", **how), status, code)
    assert served.client.get("/livez").status_code == 200


def test_the_single_broken_image_of_a_worker_is_the_callers_problem(tiny_png: bytes) -> None:
    def broken(job: Job) -> Result:
        return Result(job.id, "0" * 64, code="image_broken", detail="damaged")

    with serve(Settings()) as served, answering(served.broker, broken):
        body = is_problem(served.client.post("/v1/faces", content=tiny_png), 422, "image_broken")
        assert body["detail"] == "damaged"


def test_unknown_paths_and_methods(served: Served) -> None:
    is_problem(served.client.get("/v2/faces"), 404, "not_found")
    is_problem(served.client.get("/static/../../etc/passwd"), 404, "not_found")
    answer = served.client.get("/v1/faces")
    is_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1.2_Z", True), ("a" * 64, True), ("a" * 65, False), ("with space", False), ("<script>", False), ("", False)],
)
def test_request_ids(served: Served, given: str, kept: bool) -> None:
    answer = served.client.get("/livez", headers={"X-Request-ID": given})
    assert (answer.headers["x-request-id"] == given) is kept
    assert answer.headers["x-request-id"]


def test_request_id_reaches_the_job(served: Served, tiny_png: bytes) -> None:
    served.client.post("/v1/faces", content=tiny_png, headers={"X-Request-ID": "trace-me"})
    assert served.seen[-1].request_id == "trace-me"


def test_model_health_and_metrics(served: Served, tiny_png: bytes) -> None:
    assert served.client.get("/livez").json() == {"status": "ok"}
    assert served.client.get("/readyz").json() == {"status": "ready"}
    model = served.client.get("/v1/model").json()
    assert model["digest"] == "0" * 64
    assert model["workers"] == 1
    assert model["limits"]["max_pixels"] == 10_000
    served.client.post("/v1/faces", content=tiny_png)
    served.client.get("/v1/secret-person")
    is_problem(served.client.request("INVENTED", "/v1/faces"), 400, "invalid_http")
    is_problem(served.client.request("PROPFIND", "/v1/faces"), 405, "method_not_allowed")
    text = served.client.get("/metrics").text
    for line in (
        'face_request_duration_seconds_count{method="POST",route="/v1/faces",status="200"}',
        'face_rejected_total{reason="not_an_image"}',
        'face_model_info{device="cpu",digest="' + "0" * 64,
        "face_queue_depth 0.0",
        "face_queue_oldest_age_seconds 0.0",
        "face_worker_up 1.0",
        "face_request_bytes_total",
    ):
        assert line in text
    assert "secret-person" not in text
    assert "INVENTED" not in text


def test_not_ready_without_a_worker(tiny_png: bytes) -> None:
    with serve(Settings()) as served:
        for answer in (
            served.client.get("/readyz"),
            served.client.get("/v1/model"),
            served.client.post("/v1/faces", content=tiny_png),
        ):
            is_problem(answer, 503, "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
        assert served.client.get("/livez").status_code == 200


def stuck(served: Served) -> None:
    """A worker that is there and takes nothing."""
    served.broker.announce(WorkerInfo("stuck", "0" * 64, {}))


def test_deadline_and_full_queue(tiny_png: bytes) -> None:
    with serve(Settings(timeout=1, queue_size=2)) as served:
        stuck(served)
        answers: list[httpx.Response] = []
        post = lambda: answers.append(httpx.post(f"{served.url}/v1/faces", content=tiny_png, timeout=20))  # noqa: E731
        crowd = [threading.Thread(target=post) for _ in range(2)]
        for thread in crowd:
            thread.start()
        until(lambda: len(served.broker._waiting) == 2)
        started = time.monotonic()
        refused = served.client.post("/v1/faces", content=tiny_png)
        is_problem(refused, 429, "queue_full")
        assert time.monotonic() - started < 0.5, "a full queue answers at once"
        assert int(refused.headers["retry-after"]) >= 1
        for thread in crowd:
            thread.join()
        for answer in answers:
            is_problem(answer, 504, "deadline_exceeded")
        assert len(served.broker._waiting) == 0, "work nobody waits for was dropped"
        assert 'face_rejected_total{reason="queue_full"} 1.0' in served.client.get("/metrics").text


def test_of_several_images_those_in_time_are_answered(tiny_png: bytes) -> None:
    with serve(Settings(timeout=1)) as served:
        stuck(served)
        done = []

        def first_only() -> None:
            first = served.broker.claim(1, 5)[0]
            served.broker.finish([nothing_found(first)])
            done.append(first)

        thread = threading.Thread(target=first_only)
        thread.start()
        answer = served.client.post("/v1/faces", json={"images": [b64(tiny_png)] * 2})
        thread.join()
        assert answer.status_code == 200
        first, second = answer.json()["images"]
        assert first["faces"] == []
        assert second["error"]["code"] == "deadline_exceeded"


def test_a_client_that_leaves_takes_its_work_with_it(tiny_png: bytes) -> None:
    with serve(Settings()) as served:
        stuck(served)
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Length: {len(tiny_png)}\r\n\r\n"
            connection.sendall(head.encode() + tiny_png)
            until(lambda: len(served.broker._waiting) == 1)
        until(lambda: len(served.broker._waiting) == 0)
        until(lambda: 'status="499"' in served.client.get("/metrics").text)


def test_a_client_that_leaves_in_the_middle_of_its_upload(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nhello")
    assert served.client.get("/livez").status_code == 200


def test_a_slow_upload_is_given_up(tiny_png: bytes) -> None:
    with serve(Settings(upload_timeout=0.3)) as served:
        stuck(served)
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\nhello")
            answer = b""
            while more := connection.recv(65536):
                answer += more
                if b"upload_timeout" in answer:
                    break
        assert answer.startswith(b"HTTP/1.1 408")


def test_expect_100_continue_is_refused_before_the_body(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"\x16\x03\x01" * 9],
)
def test_what_is_no_http_is_told_so(served: Served, sent: bytes) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/problem+json" in head
    assert json.loads(body)["code"] == "invalid_http"
    assert json.loads(body)["request_id"].encode() in head


def test_an_unforeseen_failure_is_a_plain_500(tiny_png: bytes) -> None:
    with serve(Settings()) as served:

        async def fail() -> None:
            raise ZeroDivisionError("a secret in the message")

        served.broker.workers = fail
        answer = served.client.post("/v1/faces", content=tiny_png)
        is_problem(answer, 500, "internal_error")
        assert "secret" not in answer.text
        assert "ZeroDivision" not in answer.text
        assert served.client.get("/livez").status_code == 200


def test_cors_only_for_listed_origins(tiny_png: bytes) -> None:
    with serve(Settings(cors_origins="https://a.example")) as served:
        stuck(served)
        good, bad = {"Origin": "https://a.example"}, {"Origin": "https://b.example"}
        answer = served.client.get("/livez", headers=good)
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert "access-control-allow-origin" not in served.client.get("/livez", headers=bad).headers
        refused = served.client.post("/v1/faces", content=b"no image", headers=good)
        assert refused.status_code == 415
        assert refused.headers["access-control-allow-origin"] == "https://a.example"
        preflight = {**good, "Access-Control-Request-Method": "POST"}
        assert served.client.options("/v1/faces", headers=preflight).status_code == 200
    with serve(Settings()) as served:
        assert "access-control-allow-origin" not in served.client.get("/livez", headers=good).headers


def test_docs_work_without_a_cdn_and_pages_have_a_policy(served: Served) -> None:
    page = served.client.get("/docs")
    assert page.status_code == 200
    assert "//" not in page.text.replace("<!doctype", "").split("<body>")[1].replace("://", "")
    for path in ("/docs/static/swagger-ui.css", "/docs/static/swagger-ui-bundle.js", "/docs/start.js"):
        assert path in page.text
        assert served.client.get(path).status_code == 200
    for path in ("/docs", "/livez"):
        headers = served.client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
    assert "unsafe-inline" not in served.client.get("/livez").headers["content-security-policy"]


def test_openapi_tells_the_truth(served: Served) -> None:
    document = served.client.get("/openapi.json").json()
    post = document["paths"]["/v1/faces"]["post"]
    assert set(post["requestBody"]["content"]) == {
        "image/*", "application/octet-stream", "multipart/form-data", "application/json",
    }  # fmt: skip
    assert {parameter["name"] for parameter in post["parameters"]} == {
        "max_faces", "min_size", "min_score", "descriptor", "landmarks",
    }  # fmt: skip
    assert {"200", "400", "408", "413", "415", "422", "429", "500", "503", "504"} <= set(post["responses"])
    known = document["components"]["schemas"]
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert all(reference.split('"')[0] in known for reference in references)
    assert "HTTPValidationError" not in known


def test_many_at_once_each_get_their_own(tiny_png: bytes) -> None:
    def named(job: Job) -> Result:
        time.sleep(0.002)
        return Result(job.id, "0" * 64, {"width": job.options.max_faces, "height": 1, "faces": []})

    with serve(Settings()) as served, answering(served.broker, named):
        got: dict[int, int] = {}

        def ask(number: int) -> None:
            answer = served.client.post(f"/v1/faces?max_faces={number}", content=tiny_png)
            got[number] = answer.json()["width"]

        crowd = [threading.Thread(target=ask, args=(number,)) for number in range(1, 41)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(30)
        assert got == {number: number for number in range(1, 41)}


def test_the_api_runs_without_torch() -> None:
    code = "import service.__main__, service.app, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
