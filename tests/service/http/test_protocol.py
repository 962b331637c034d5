"""Attacks below HTTP's surface: endless heads, silent connections, too many of them, bodies that nobody reads."""

import asyncio
import json
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.config import Settings
from tests.service.http.raw import (
    connect,
    head,
    is_closed,
    limited_server,
    resident,
    send_until_closed,
    status,
    whole_answer,
)
from tests.service.serving import answering, nothing_found, serve, stuck, until

MIB = 1 << 20


@pytest.fixture(scope="module")
def limited() -> Iterator[tuple[str, int]]:
    """A server in a process of its own that may take 256 MiB more than it has at the start; its URL and pid."""
    with limited_server(256 * MIB) as server:
        yield server


def test_a_head_of_endless_headers_is_refused_in_little_memory(limited: tuple[str, int]) -> None:
    block = b"".join(b"a%d: b\r\n" % number for number in range(5000))
    url, pid = limited
    before = resident(pid)
    for start in (b"GET /livez HTTP/1.1\r\n", b"GET /livez HTTP/1.1\r\nx: "):
        for kind in (block, b"y" * 65536):
            with connect(url) as connection:
                connection.sendall(start)
                assert send_until_closed(connection, kind, 100 * MIB) < 20 * MIB
    with connect(url) as connection:
        assert send_until_closed(connection, b"GET /" + b"x" * 65536, 100 * MIB) < 20 * MIB
    assert resident(pid) - before < 50 * MIB
    with connect(url) as connection:
        connection.sendall(head("GET /livez"))
        assert status(connection) == 200


@pytest.mark.parametrize(("count", "answer"), [(98, 200), (101, 431)])
def test_a_request_may_have_a_hundred_headers(count: int, answer: int) -> None:
    with serve(Settings()) as served, connect(served.url) as connection:
        connection.sendall(head("GET /livez", **{f"a{number}": "b" for number in range(count)}))
        assert status(connection) == answer


@pytest.mark.parametrize(("size", "answer"), [(60_000, 200), (66_000, 431)])
def test_a_head_may_have_64_kib(size: int, answer: int) -> None:
    with serve(Settings()) as served, connect(served.url) as connection:
        connection.sendall(head("GET /livez", X_Long="x" * size))
        reply = whole_answer(connection)
        assert int(reply.split(b" ")[1]) == answer
        if answer == 431:
            problem = json.loads(reply.partition(b"\r\n\r\n")[2])
            assert (problem["code"], problem["status"]) == ("head_too_large", 431)
            assert is_closed(connection)


def test_a_head_that_does_not_end_and_a_silent_connection_are_closed() -> None:
    with serve(Settings(head_timeout=0.4)) as served:
        with connect(served.url) as connection:
            started = time.monotonic()
            with suppress(OSError):  # it was cut off already
                for byte in b"GET /livez HTTP/1.1\r\nx: slow":  # one byte at a time keeps no connection open
                    if time.monotonic() - started > 0.3:
                        break
                    connection.sendall(bytes([byte]))
                    time.sleep(0.03)
            assert status(connection) == 408
            assert 0.3 < time.monotonic() - started < 10
        with connect(served.url) as connection:
            started = time.monotonic()
            assert is_closed(connection)
            assert time.monotonic() - started < 10


def test_the_time_for_a_head_does_not_end_work_that_takes_longer(tiny_png: bytes) -> None:
    with serve(Settings(head_timeout=0.2, timeout=1)) as served, connect(served.url) as connection:
        connection.sendall(head("POST /v1/faces", Content_Length=len(tiny_png)))
        time.sleep(0.3)
        connection.sendall(tiny_png + b"\r\n")
        assert status(connection) == 503  # no worker; an answer, no cut


@pytest.mark.slow
def test_an_idle_connection_is_closed_after_its_answer() -> None:
    with serve(Settings()) as served, connect(served.url, timeout=15) as connection:
        connection.sendall(head("GET /livez"))
        assert status(connection) == 200
        started = time.monotonic()
        assert is_closed(connection)
        assert time.monotonic() - started < 10


def test_connections_beyond_the_limit_are_refused_and_room_is_made_again() -> None:
    with serve(Settings(max_connections=3)) as served:
        held = [connect(served.url) for _ in range(3)]
        for connection in held:
            connection.sendall(head("GET /livez"))
            assert status(connection) == 200
        with connect(served.url) as connection:
            assert status(connection) == 503
        for connection in held:
            connection.close()

        def is_served() -> bool:
            with connect(served.url) as connection:
                connection.sendall(head("GET /livez"))
                return status(connection) == 200

        until(is_served)


def test_endless_trailers_are_refused(limited: tuple[str, int]) -> None:
    url, pid = limited
    before = resident(pid)
    for trailer in (b"x: " + b"y" * 65536, b"".join(b"a%d: b\r\n" % n for n in range(5000))):
        with connect(url) as connection:
            connection.sendall(head("POST /livez", Transfer_Encoding="chunked") + b"0\r\n")
            assert send_until_closed(connection, trailer, 100 * MIB) < 20 * MIB
    assert resident(pid) - before < 50 * MIB


def test_a_refused_body_is_dropped_and_the_connection_goes_on() -> None:
    with serve(Settings()) as served, connect(served.url) as connection:
        connection.sendall(head("POST /nowhere", Content_Length=3 * MIB))
        assert status(connection) == 404  # before a byte of the body was sent
        connection.sendall(bytes(3 * MIB) + head("GET /livez"))
        assert status(connection) == 200


def test_many_pipelined_requests_end_the_connection() -> None:
    with serve(Settings()) as served, connect(served.url) as connection:
        connection.sendall(head("GET /readyz") * 2000)
        assert is_closed(connection)
        assert served.client.get("/livez").status_code == 200


@pytest.mark.parametrize("noise", [b"\x16\x03\x01\x02\x00" * 20, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_gets_a_problem_document(noise: bytes) -> None:
    with serve(Settings()) as served, connect(served.url) as connection:
        connection.sendall(noise)
        reply = whole_answer(connection)
        assert reply.startswith(b"HTTP/1.1 400")
        assert json.loads(reply.partition(b"\r\n\r\n")[2])["code"] == "invalid_http"
        assert is_closed(connection)


def test_a_request_to_change_the_protocol_is_served_as_http(tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path)) as served, connect(served.url) as connection:
        connection.sendall(head("GET /livez", Connection="Upgrade", Upgrade="websocket", Sec_WebSocket_Version=13))
        assert status(connection) == 200


def test_a_client_that_leaves_with_requests_behind_the_one_under_way_frees_its_place(
    tiny_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    request = head("POST /v1/faces", Content_Type="image/png", Content_Length=len(tiny_png)) + tiny_png
    with serve(Settings(timeout=20)) as served:
        stuck(served)
        with connect(served.url) as connection:
            connection.sendall(3 * request)
            until(lambda: asyncio.run(served.broker.state()).depth == 1)
        until(lambda: asyncio.run(served.broker.state()).depth == 0, 5)
        until(lambda: 'route="/v1/faces",status="499"} 1.0' in served.client.get("/metrics").text)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("fault", [b"GARBAGE\r\n\r\n", head("POST /v1/faces", Transfer_Encoding="chunked") + b"no\r\n"])
def test_what_is_no_http_is_answered_after_the_requests_before_it(tiny_png: bytes, fault: bytes) -> None:
    request = head("POST /v1/faces", Content_Type="image/png", Content_Length=len(tiny_png)) + tiny_png
    with serve(Settings()) as served, connect(served.url) as connection:
        stuck(served)
        connection.sendall(request + head("GET /livez") + fault)
        until(lambda: asyncio.run(served.broker.state()).depth == 1)
        with answering(served.broker, nothing_found):
            received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"400"]
