"""Clients that send or read slowly, and keys that come in other ways than they should."""

import logging
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from service.http import protocol
from tests.service.http.raw import connect, head, is_closed, limited_server, resident, status
from tests.service.serving import Served, answering, nothing_found, serve, stuck

MIB = 1 << 20


# -- slow ones --------------------------------------------------------------------------------------------------------


@contextmanager
def slow_senders(url: str) -> Iterator[list[socket.socket]]:
    """Sixty connections on each of which a byte of a photo comes now and then."""
    held = [connect(url, timeout=30) for _ in range(60)]
    for connection in held:
        connection.sendall(head("POST /v1/faces", Content_Length=10_000, Content_Type="image/png"))
    stop = threading.Event()

    def dribble() -> None:
        while not stop.wait(0.05):
            for connection in held:
                with suppress(OSError):
                    connection.sendall(b"x")

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        yield held
    finally:
        stop.set()
        thread.join()
        for connection in held:
            connection.close()


def test_nobody_waits_for_many_slow_senders() -> None:
    with serve(Settings(upload_timeout=60)) as served:
        stuck(served)
        with slow_senders(served.url):
            assert served.client.get("/livez", timeout=30).status_code == 200


def test_many_slow_senders_are_given_up() -> None:
    with serve(Settings(upload_timeout=0.5)) as served:
        stuck(served)
        with slow_senders(served.url) as held:
            assert {status(connection) for connection in held} == {408}


def test_a_body_in_chunks_of_one_byte_has_no_longer() -> None:
    settings = Settings(upload_timeout=0.5)
    with (
        serve(settings) as served,
        answering(served.broker, nothing_found),
        connect(served.url) as connection,
    ):
        connection.sendall(head("POST /v1/faces", Transfer_Encoding="chunked", Content_Type="image/png"))
        started = time.monotonic()
        with suppress(OSError):  # it was cut off already
            while time.monotonic() - started < 0.4:
                connection.sendall(b"1\r\nx\r\n")
                time.sleep(0.02)
        assert status(connection) == 408
        assert time.monotonic() - started < 10


def test_who_reads_no_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 0.3)
    with serve(Settings()) as served, connect(served.url, timeout=15) as connection:
        for _ in range(400):  # until what waits fills the buffers of both sides
            try:
                connection.sendall(head("GET /openapi.json") * 8)
            except OSError:
                break
            time.sleep(0.005)
        hung_up = select.poll()
        hung_up.register(connection, 0)
        hung_up.poll(1500)
        assert is_closed(connection)
        assert served.client.get("/livez").status_code == 200


def test_who_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_SECONDS", 1.0)
    with serve(Settings()) as served, connect(served.url, timeout=15) as connection:
        whole = len(served.client.get("/openapi.json").content)
        connection.sendall(head("GET /openapi.json") * 15 + head("GET /openapi.json", Connection="close"))
        received = 0
        while part := connection.recv(65536):
            received += len(part)
            time.sleep(0.01)
        assert received > 16 * whole


@pytest.mark.slow
def test_many_who_read_nothing_cost_little_memory() -> None:
    with limited_server(400 * MIB) as (url, pid):
        before = resident(pid)
        held = [connect(url) for _ in range(100)]
        for connection in held:
            connection.sendall(head("GET /openapi.json") * 10)
        time.sleep(1)
        assert resident(pid) - before < 150 * MIB
        with connect(url) as connection:
            connection.sendall(head("GET /livez"))
            assert status(connection) == 200
        for connection in held:
            connection.close()


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("locked")


@pytest.fixture(scope="module")
def locked(data: Path) -> Iterator[tuple[Served, str]]:
    """A server with keys on, and an admin's token."""
    settings = Settings(data_dir=data, api_keys="on")
    with open_keys(settings) as ring:
        token = ring.create("test", ["admin"])[1]
    with serve(settings) as served:
        yield served, token


def test_a_key_counts_in_its_headers_only(locked: tuple[Served, str]) -> None:
    served, token = locked
    ask = served.client.get
    assert ask("/v1/keys", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    assert ask("/v1/keys", headers={"Authorization": f"bearer  {token}"}).status_code == 200
    assert ask("/v1/keys", headers={"X-API-Key": token}).status_code == 200
    for query in (f"?api_key={token}", f"?key={token}", f"?Authorization=Bearer%20{token}"):
        assert ask(f"/v1/keys{query}").status_code == 401
    for headers in (
        {"Cookie": f"api_key={token}; Authorization=Bearer {token}"},
        {"Authorization": f"Basic {token}"},
        {"Authorization": token},
        {"Authorization": f"Bearer {token}x"},
        {"Authorization": f"Bearer {token.upper()}"},
        {"Authorization": f"Bearer {token[:-1]}"},
        {"Authorization": f"Bearer {token}, Bearer {token}"},
        {"Proxy-Authorization": f"Bearer {token}"},
        {"Referer": f"http://127.0.0.1/?key={token}"},
    ):
        assert ask("/v1/keys", headers=headers).status_code == 401, headers


ODD = [
    "",
    " ",
    "\x7f",
    "face_",
    "face_" + "0" * 12,
    "face_" + "0" * 12 + "_" + "a" * 43,
    "é" * 10,
    "\xff" * 43,
    "a" * 50_000,
]


@pytest.mark.parametrize("token", ODD, ids=range(len(ODD)))
def test_odd_tokens_are_wrong_tokens(locked: tuple[Served, str], token: str) -> None:
    with connect(locked[0].url) as connection:
        lines = ["GET /v1/keys HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {token}", "", ""]
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        assert status(connection) in (400, 401)


def test_of_two_keys_a_wrong_one_lets_nobody_in(locked: tuple[Served, str]) -> None:
    served, token = locked
    wrong = f"face_{'0' * 12}_{'a' * 43}"
    for first, second in ((token, wrong), (wrong, token)):
        with connect(served.url) as connection:
            lines = [f"Authorization: Bearer {first}", f"Authorization: Bearer {second}"]
            connection.sendall("\r\n".join(["GET /v1/keys HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode())
            assert status(connection) in (400, 401, 200 if first == token else 401)
    mixed = {"Authorization": f"Bearer {wrong}", "X-API-Key": token}
    assert served.client.get("/v1/keys", headers=mixed).status_code == 401


def test_tokens_are_neither_logged_nor_told(
    locked: tuple[Served, str], data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    served, token = locked
    caplog.set_level(logging.DEBUG)
    wrong = f"face_{'1' * 12}_{'b' * 43}"
    for sent in (token, wrong):
        for path in ("/v1/keys", "/v1/collections", "/v1/nothing", "/metrics"):
            answer = served.client.get(path, headers={"Authorization": f"Bearer {sent}"})
            assert sent not in answer.text + str(answer.headers)
    ours = [vars(record) for record in caplog.records if record.name.startswith(("service", "uvicorn", "asyncio"))]
    stored = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    for secret in (token.split("_", 2)[2], wrong.split("_", 2)[2]):
        assert secret not in repr(ours)
        assert secret.encode() not in stored


@pytest.mark.slow
def test_thousands_of_wrong_keys_leave_nothing_behind(tmp_path: Path) -> None:
    with limited_server(300 * MIB, data_dir=str(tmp_path), api_keys="on") as (url, pid):

        def guess(first: int) -> None:
            with httpx.Client(base_url=url) as client:
                for number in range(first, first + 250):
                    wrong = f"face_{number:012x}_{'c' * 43}"
                    assert client.get("/v1/keys", headers={"X-API-Key": wrong}).status_code == 401

        guess(0)
        before, disk = resident(pid), sum(path.stat().st_size for path in tmp_path.rglob("*"))
        for start in range(1000, 3000, 250):
            guess(start)
        assert resident(pid) - before < 20 * MIB
        assert sum(path.stat().st_size for path in tmp_path.rglob("*")) - disk < 100_000
