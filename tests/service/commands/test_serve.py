"""serve as its users run it: a process, its streams, its exit status."""

import hashlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from tests.service.serving import until, until_ready

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "service"]


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    where = {"OMP_NUM_THREADS": "1", "FACE_ENGINE": "torch", **os.environ, **env}
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, env=where, timeout=100, check=False
    )


@contextmanager
def serving(*words: object, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), *map(str, words)],
        stderr=subprocess.PIPE, text=True, env={"OMP_NUM_THREADS": "1", "FACE_ENGINE": "torch", **os.environ, **env},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until_ready(process, url)
        yield process, url
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("words", "env", "status", "said"),
    [
        (["serve", "--port", "99999"], {}, 2, "FACE_PORT"),
        (["serve"], {"FACE_QUEUE_SIZE": "none"}, 2, "FACE_QUEUE_SIZE"),
        (["serve", "--port", "0", "--weights", "nowhere.safetensors"], {}, 1, "nowhere.safetensors"),
        (["serve", "--host", "256.1.1.1"], {}, 1, "cannot listen"),
        ([], {}, 2, "COMMAND"),
        (["dance"], {}, 2, "dance"),
    ],
)
def test_mistakes_are_told_without_a_traceback(words: list[str], env: dict[str, str], status: int, said: str) -> None:
    done = run(*words, **env)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_only_the_model_of_the_settings_answers(tiny_checkpoint: Path) -> None:
    done = run("serve", "--port", 0, "--weights", tiny_checkpoint, FACE_MODEL_DIGEST="f" * 64)
    assert done.returncode == 1
    assert hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest() in done.stderr
    assert "FACE_MODEL_DIGEST names another model" in done.stderr


def test_a_port_in_use(tiny_checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", port, "--weights", tiny_checkpoint)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def on_a_terminal(*words: object, url: str, **env: str) -> str:
    """Return what a server writes to a terminal until it is ready and is stopped."""
    ours, theirs = pty.openpty()
    where = {"OMP_NUM_THREADS": "1", "FACE_ENGINE": "torch", **os.environ, **env}
    with subprocess.Popen([*COMMAND, *map(str, words)], stdout=theirs, stderr=theirs, env=where) as process:
        os.close(theirs)
        until_ready(process, url, "/livez")
        process.send_signal(signal.SIGINT)
        written = b""
        with suppress(OSError):  # the terminal is closed by the last who has it open
            while more := os.read(ours, 4096):
                written += more
    os.close(ours)
    return written.decode()


def test_a_terminal_is_told_in_words_where_to_go_and_that_a_key_is_missing(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    words = ("serve", "--host", "0.0.0.0", "--port", port, "--weights", tiny_checkpoint)
    where = {"FACE_DATA_DIR": str(tmp_path), "FACE_ENGINE": "torch"}
    written = on_a_terminal(*words, url=url, **where)
    assert f"allinone-face: open {url}/ in a browser" in written
    assert "allinone-face: no keys yet: " in written
    assert "allinone-face keys create NAME --role admin" in written
    run("keys", "create", "first", "--role", "admin", **where)
    written = on_a_terminal(*words, url=url, **where)
    assert "no keys yet" not in written


def test_serve_end_to_end_and_its_logs_hold_nothing_personal(astronaut_png: bytes, tiny_checkpoint: Path) -> None:
    other = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # has no photo
    listed = f"127.0.0.1:{other.server_port}"
    with other, serving("--weights", tiny_checkpoint, FACE_IMAGE_HOSTS=listed) as (process, url):
        files = {"file": ("Ada Lovelace.png", astronaut_png, "image/png")}
        query = "min_score=0&min_size=40&max_faces=2&descriptor=true"
        answer = httpx.post(f"{url}/v1/faces?{query}", files=files, headers={"X-Request-ID": "one-two"}, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["faces"]
        assert httpx.get(f"{url}/v1/model").json()["info"]["preset"] == "tiny"
        assert httpx.get(f"{url}/").status_code == 200
        assert httpx.get(f"{url}/static/app.js").status_code == 200
        httpx.post(f"{url}/v1/faces?max_faces=Ada", content=b"Ada")
        threading.Thread(target=other.handle_request).start()
        fetched = httpx.post(f"{url}/v1/faces", json={"image": f"http://{listed}/Ada"})
        assert fetched.json()["code"] == "not_fetched"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
        assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert any(line.get("request_id") == "one-two" and line["status"] == 200 for line in lines)
    assert {line["message"] for line in lines} >= {"listening", "worker ready", "request", "worker drained"}
    assert "Ada" not in log
    assert "127.0.0.1" not in log.replace(url, "")


def is_accepted(url: str) -> bool:
    """Return whether there are photos that wait or are under work."""
    return "face_queue_depth 0.0" not in httpx.get(f"{url}/metrics").text


def test_told_to_stop_under_load_every_accepted_request_is_answered(
    astronaut_png: bytes, tiny_checkpoint: Path
) -> None:
    body = [("file", astronaut_png)] * 8
    with serving("--weights", tiny_checkpoint) as (process, url), httpx.Client(timeout=60) as client:
        request = client.build_request("POST", f"{url}/v1/faces?min_score=0&min_size=40", files=body)
        data = request.read()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = (
                f"POST /v1/faces HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: {request.headers['content-type']}\r\n"
            )
            connection.sendall(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
            until(lambda: is_accepted(url) or bool(select.select([connection], [], [], 0)[0]))
            process.send_signal(signal.SIGTERM)
            answer = b""
            while more := connection.recv(65536):
                answer += more
        assert answer.startswith(b"HTTP/1.1 200")
        assert len(json.loads(answer.partition(b"\r\n\r\n")[2])["images"]) == 8
        assert process.wait(30) == 0


def test_what_is_there_at_the_start_is_not_collected_again() -> None:
    code = """
import gc
from service.commands import freeze_startup_objects
freeze_startup_objects()
frozen = gc.get_freeze_count()
print(frozen > 10_000, len(gc.get_objects()) < frozen / 10)
"""
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert ended.stdout == "True True\n"
