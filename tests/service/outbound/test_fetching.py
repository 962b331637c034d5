"""Photos by URL: from listed hosts only, by the very address that was checked, within bytes and seconds."""

import asyncio
import ipaddress
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import BodyTooLarge, InvalidRequest, NotFetched
from service.outbound.fetch import Fetcher
from tests.service.listening import QuietHandler, listening
from tests.service.serving import Served, answering, is_problem, nothing_found, serve, stuck, until

SEEN: list[tuple[str, dict[str, str]]] = []


class Pages(QuietHandler):
    """What hosts answer, by path."""

    photo = b""

    def do_GET(self) -> None:
        """One answer."""
        SEEN.append((self.path, dict(self.headers)))
        with suppress(OSError):
            getattr(self, self.path.partition("?")[0].strip("/"))()

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def good(self) -> None:
        self._send(200, self.photo)

    def elsewhere(self) -> None:
        self._send(302, b"", Location="/good")

    def missing(self) -> None:
        self._send(404, self.photo)

    def squeezed(self) -> None:
        self._send(200, b"\x1f\x8b\x08\x00", Content_Encoding="gzip")

    def endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def slow(self) -> None:
        self.send_response(200)
        self.end_headers()
        for _ in range(50):
            self.wfile.write(b"\0")
            self.wfile.flush()
            time.sleep(0.1)


@pytest.fixture(scope="module")
def host(astronaut_png: bytes) -> Iterator[str]:
    Pages.photo = astronaut_png
    with listening(Pages) as address:
        yield address


def get(url: str, *hosts: str, most: int = 1 << 20, seconds: float = 5) -> bytes:
    return asyncio.run(Fetcher(hosts, seconds).get(url, most))


def test_a_photo_is_fetched_as_it_is(host: str, astronaut_png: bytes) -> None:
    SEEN.clear()
    assert get(f"http://{host}/good?size=1#part", host) == astronaut_png
    [(path, headers)] = SEEN
    assert (path, headers["Host"], headers["Accept-Encoding"]) == ("/good?size=1", host, "identity")
    assert get(f"http://{host}/squeezed", host) == b"\x1f\x8b\x08\x00", "nothing is unpacked"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("elsewhere", "answered 302, not 200; no redirect is followed"),
        ("missing", "404"),
        ("no such page", "no whole answer"),
    ],
)
def test_only_a_200_is_a_photo(host: str, path: str, told: str) -> None:
    SEEN.clear()
    with pytest.raises(NotFetched, match=told):
        get(f"http://{host}/{path}", host)
    assert len(SEEN) == 1, "no redirect is followed"


def test_too_many_bytes_and_too_many_seconds(host: str) -> None:
    with pytest.raises(BodyTooLarge):
        get(f"http://{host}/endless", host, most=100_000)
    with pytest.raises(BodyTooLarge):
        get(f"http://{host}/good", host, most=100)
    started = time.monotonic()
    with pytest.raises(NotFetched, match=r"within 0\.5 seconds"):
        get(f"http://{host}/slow", host, seconds=0.5)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "url",
    ["http://example.org/", "https://127.0.0.1:1/", "http://u@127.0.0.1/", "http://127.0.0.1.example.org/", "http://["],
)
def test_a_host_that_is_not_listed_is_not_asked(url: str) -> None:
    with pytest.raises(InvalidRequest):
        get(url, "127.0.0.1", "example.com")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1", "224.0.0.1"])
def test_a_listed_name_does_not_lead_inside(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the address is listed itself, whatever the name's owner lets it resolve to."""
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    found = [(family, socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(NotFetched):
        get("http://photos.example.org/", "photos.example.org", seconds=0.5)


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with listening(Pages, context) as host:
        with pytest.raises(NotFetched):
            get(f"https://{host}/good", host)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))  # the certificates that this process trusts
        assert get(f"https://{host}/good", host) == Pages.photo


@pytest.fixture(scope="module")
def served(host: str) -> Iterator[Served]:
    settings = Settings(image_hosts=(host,), max_bytes=2 << 20, max_request_bytes=3 << 20)
    with serve(settings) as served, answering(served.broker, nothing_found):
        yield served


def test_urls_stand_where_base64_stands(served: Served, host: str) -> None:
    url = f"http://{host}/good"
    answer = served.client.post("/v1/faces", json={"image": url})
    assert (answer.status_code, answer.json()["faces"]) == (200, [])
    assert len(served.client.post("/v1/faces", json={"images": [url, url]}).json()["images"]) == 2
    for same in (f" HTTP://{host}/good", f"http://{host}/good\n"):
        assert served.client.post("/v1/faces", json={"image": same}).status_code == 200
    for body, status, code in (
        ({"image": f"http://{host}/missing"}, 422, "not_fetched"),
        ({"image": "http://example.org/good"}, 422, "invalid_request"),
        ({"image": f"http://{host}/endless"}, 413, "body_too_large"),
        ({"images": [url] * 17}, 413, "too_many_images"),
    ):
        answer = served.client.post("/v1/faces", json=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert host not in answer.text


def test_off_unless_hosts_are_listed(host: str) -> None:
    with serve(Settings()) as served, answering(served.broker, nothing_found):
        answer = served.client.post("/v1/faces", json={"image": f"http://{host}/good"})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
        assert "no URLs" in answer.json()["detail"]


def test_names_that_nobody_answers_keep_no_thread_from_the_gallery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up cannot be interrupted: more of them than a process has threads wait at once."""
    name_server, asked = threading.Event(), list[str]()
    look_up = socket.getaddrinfo

    def answered_late(host: str, *arguments: object, **options: int) -> object:
        if host == "silent.example":
            asked.append(host)
            name_server.wait(30)
            host = "127.0.0.1"
        return look_up(host, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", answered_late)
    body = {"image": "http://silent.example/a.jpg"}
    with serve(Settings(data_dir=tmp_path, image_hosts=["silent.example"])) as served, ThreadPoolExecutor(40) as crowd:
        stuck(served)
        try:
            answers = [crowd.submit(served.client.post, "/v1/faces", json=body) for _ in range(40)]
            until(lambda: len(asked) >= 4)
            assert served.client.get("/v1/collections/people", timeout=5).status_code == 404
        finally:
            name_server.set()
        assert {answer.result().status_code for answer in answers} == {422}


def test_what_is_fetched_counts_as_held_while_its_request_lasts(host: str, tiny_png: bytes) -> None:
    with serve(Settings(image_hosts=[host], body_bytes=100_000)) as served, answering(served.broker, nothing_found):
        for _ in range(2):
            refused = served.client.post("/v1/faces", json={"image": f"http://{host}/good"})
            is_problem(refused, 429, "too_many_bytes")
        assert served.client.post("/v1/faces", content=tiny_png).status_code == 200
