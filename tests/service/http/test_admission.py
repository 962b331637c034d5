"""The gate in front of the routes: every route is in the table, and no body is read before a request is let in."""

import json
import select
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from service.http.auth import ENDPOINTS
from service.http.compat.endpoints import api_of
from service.schemas.names import Role
from tests.service.http.raw import (
    connect,
    head,
    limited_server,
    resident,
    send_until_closed,
    status,
    whole_answer,
)
from tests.service.serving import Served, b64, serve, until

MIB = 1 << 20
HEAD_ALONE = 63_000_000
"""Bytes of a body that is announced and never sent."""
NO_KEY = {
    None: (401, '"code":"unauthorized"'),
    "compreface": (400, '"code":20'),
    "rekognition": (400, "UnrecognizedClientException"),
}
"""How an answer begins, and what it holds, when a request has no key: by the API that it is of."""
WRONG_KEY = (404, '"code":10')
"""The same where the key is a part of CompreFace's path, which is never without one."""


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data = tmp_path_factory.mktemp("admission")
    return Settings(data_dir=data, api_keys="on", compat=("compreface", "rekognition"))


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    with serve(settings) as running:
        yield running


def key(settings: Settings, *roles: Role, rate: float | None = None, burst: int = 20) -> str:
    """Return a new key."""
    with open_keys(settings) as ring:
        return ring.create("test", roles, rate, burst)[1]


def test_the_table_and_the_routes_are_the_same(served: Served) -> None:
    paths = served.client.get("/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    table = {(method, path) for method, path, *_ in ENDPOINTS}
    assert described <= table
    assert {row for row in table - described if row[1].startswith("/v1/")} == set()


@pytest.mark.parametrize(("method", "path", "needs"), [row[:3] for row in ENDPOINTS if row[2] != "nothing"])
def test_no_endpoint_waits_for_a_body_before_it_asks_for_a_key(
    served: Served, method: str, path: str, needs: str
) -> None:
    fields = {"Content_Length": HEAD_ALONE}
    if api_of(path) == "rekognition":  # one path for all operations, which a header names
        path, _, operation = path.rpartition("/")
        fields["X_Amz_Target"] = f"RekognitionService.{operation}"
    with connect(served.url, timeout=20) as connection:
        connection.sendall(head(f"{method} {path.replace('{', '').replace('}', '')}", **fields))
        answer = whole_answer(connection).decode()
    words = WRONG_KEY if "{api_key}" in path else NO_KEY[api_of(path + "/")]
    assert answer.startswith(f"HTTP/1.1 {words[0]} "), needs
    assert words[1] in answer


def test_role_and_rate_too_are_checked_before_the_body(served: Served, settings: Settings) -> None:
    lacks_role = key(settings, "analyze")
    too_fast = key(settings, "admin", rate=0.1, burst=1)
    bearer = {"Authorization": f"Bearer {too_fast}"}
    assert served.client.get("/v1/keys", headers=bearer).status_code == 200
    for token, answer in ((lacks_role, 403), (too_fast, 429)):
        for path in ("/v1/keys", "/v1/compare"):
            with connect(served.url, timeout=20) as connection:
                fields = {"Authorization": f"Bearer {token}", "Content_Length": HEAD_ALONE}
                connection.sendall(head(f"POST {path}", Content_Type="application/json", **fields))
                assert status(connection) == answer


def test_a_body_without_photos_may_have_256_kib(served: Served, settings: Settings) -> None:
    admin = {"Authorization": f"Bearer {key(settings, 'admin')}"}
    for content in (bytes(300 << 10), (bytes(1 << 15) for _ in range(10))):  # announced, and in chunks
        answer = served.client.put("/v1/collections/staff", headers=admin, content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_all_bodies_under_way_share_one_budget() -> None:
    with serve(Settings(body_bytes=MIB, upload_timeout=20)) as served:
        held = [connect(served.url) for _ in range(3)]
        for connection in held:
            connection.sendall(head("POST /v1/jobs", Content_Length=600_000, Content_Type="application/zip"))
        for connection in held:
            connection.sendall(bytes(500_000))
        refused, _, _ = select.select(held, [], [], 20)
        assert len(refused) == 1
        answer = whole_answer(refused[0])
        assert answer.startswith(b"HTTP/1.1 429")
        assert b"too_many_bytes" in answer
        assert b"retry-after: 1" in answer.lower()
        for connection in held:
            connection.close()
        archive = {"content": bytes(700_000), "headers": {"Content-Type": "application/zip"}}
        # read to its end: the budget was given back
        until(lambda: served.client.post("/v1/jobs", **archive).json()["code"] == "invalid_archive")


def hostile_json() -> Iterator[tuple[str, bytes]]:
    """Yield bodies of some 20 MB and what is hostile about each, one at a time."""
    yield "lists in lists", b'{"image": ' + b"[" * 20_000_000
    yield "empty strings", b'{"images": [' + b'"",' * 7_000_000 + b'""]}'
    yield "numbers", b'{"images": [' + b"0," * 10_000_000 + b"0]}"
    yield "fields", b"{" + b",".join(b'"%d":0' % number for number in range(2_000_000)) + b"}"
    yield "an option of lists", b'{"image": "aGk=", "max_faces": [' + b"[]," * 7_000_000 + b"[]]}"
    yield "the same field again", b"{" + b'"image":"aGk=",' * 1_300_000 + b'"image":"aGk="}'


@pytest.mark.slow
def test_no_json_makes_much_of_little() -> None:
    with limited_server(700 * MIB) as (url, pid), httpx.Client(base_url=url, timeout=30) as client:
        json_type = {"Content-Type": "application/json"}
        client.post("/v1/faces", content=json.dumps({"image": b64(bytes(3 * MIB))}), headers=json_type)
        before = resident(pid)
        for name, body in hostile_json():
            answer = client.post("/v1/faces", content=body, headers=json_type)
            assert answer.status_code in (400, 413, 422, 503), name
            small = client.put("/v1/collections/c", content=body, headers=json_type)
            assert small.status_code == 413, name
        assert resident(pid) - before < 350 * MIB


def test_callers_without_a_key_cost_no_memory(tmp_path: Path) -> None:
    with limited_server(256 * MIB, data_dir=str(tmp_path), api_keys="on") as (url, pid):
        before = resident(pid)
        fields = {"Content_Type": "application/json", "Content_Length": 60_000_000}

        def attack() -> None:
            with connect(url) as connection:
                connection.sendall(head("POST /v1/compare", **fields))
                send_until_closed(connection, b"[" * 65536, 60_000_000)

        threads = [threading.Thread(target=attack) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert resident(pid) - before < 60 * MIB
        with connect(url) as connection:
            connection.sendall(head("GET /livez"))
            assert status(connection) == 200


def test_keys_are_checked_while_the_gallery_hangs(served: Served, settings: Settings) -> None:
    bearer = {"Authorization": f"Bearer {key(settings, 'admin')}"}
    assert served.client.put("/v1/collections/c", headers=bearer).status_code in (201, 503)
    locked = sqlite3.connect(settings.data_dir / "gallery.db", isolation_level=None)
    locked.execute("BEGIN EXCLUSIVE")
    try:
        held = []
        for number in range(40):
            connection = connect(served.url, timeout=30)
            fields = {
                **{"Content_Type": "application/json", "Content_Length": 2},
                **{"Authorization": bearer["Authorization"]},
            }
            connection.sendall(head(f"PUT /v1/collections/c/subjects/p{number}", **fields) + b"{}")
            held.append(connection)
        time.sleep(0.3)
        started = time.monotonic()
        assert served.client.get("/v1/jobs/none", headers=bearer).status_code == 404
        assert served.client.get("/v1/jobs/none", headers={"X-API-Key": "face_0_0"}).status_code == 401
        assert time.monotonic() - started < 4
    finally:
        locked.execute("ROLLBACK")
        locked.close()
        for connection in held:
            connection.close()


def test_head_is_answered_wherever_get_is_and_allow_is_complete(served: Served, settings: Settings) -> None:
    admin = {"Authorization": f"Bearer {key(settings, 'admin')}"}
    for path in ("/", "/livez", "/v1/model", "/v1/collections", "/v1/keys", "/openapi.json", "/static/style.css"):
        get, asked = (served.client.request(method, path, headers=admin) for method in ("GET", "HEAD"))
        assert (asked.status_code, asked.content) == (get.status_code, b"")
    for path, allowed in (
        ("/v1/faces", "POST"),
        ("/v1/keys", "GET, HEAD, POST"),
        ("/v1/collections/c", "DELETE, GET, HEAD, PUT"),
        ("/livez", "GET, HEAD"),
    ):
        answer = served.client.patch(path, headers=admin)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/v1/nothing", "/v1/keys/", "/v1//keys", "/V1/keys", "/v1/keys%0a", "/docs/../v1/keys"]
)
def test_what_is_not_in_the_table_is_not_served(served: Served, path: str) -> None:
    with connect(served.url) as connection:
        connection.sendall(head(f"GET {path}"))
        assert status(connection) in (401, 404)


def test_a_server_without_keys_that_others_reach_says_so(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path, host="0.0.0.0", api_keys="off")):
        assert "ANYBODY WHO REACHES THIS SERVER" in caplog.text
    caplog.clear()
    with serve(Settings(data_dir=tmp_path, host="0.0.0.0", api_keys="on")), serve(Settings(data_dir=tmp_path)):
        assert "ANYBODY" not in caplog.text
