"""The API over HTTP: what it refuses, and request ids, health, metrics, headers, documentation."""

import json
import socket
import subprocess
import sys

import pytest

from service.config import Settings
from tests.service.serving import Served, b64, is_problem, serve, stuck
from tests.service.test_images import png_header


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
    served.client.post("/v1/faces", content=b"no image")
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
    for path in ("docs/static/swagger-ui.css", "docs/static/swagger-ui-bundle.js", "static/docs.js"):
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
        "max_faces", "min_size", "min_score", "descriptor", "landmarks", "quality", "orientation", "list",
    }  # fmt: skip
    assert {"200", "400", "408", "413", "415", "422", "429", "500", "503", "504"} <= set(post["responses"])
    known = document["components"]["schemas"]
    references = json.dumps(document).split('"$ref": "#/components/schemas/')[1:]
    assert all(reference.split('"')[0] in known for reference in references)
    assert "HTTPValidationError" not in known


def test_the_api_runs_without_torch() -> None:
    code = "import service.__main__, service.http.app, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
