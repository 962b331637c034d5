"""The command line as its users run it: a process, its streams, its exit status."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import httpx
import pytest

from tests.service.serving import until_ready

COMMAND = [sys.executable, "-m", "service"]
ANY = ["--min-score", "0", "--min-size", "1", "--max-faces", "2"]


def run(*words: object, **env: str) -> subprocess.CompletedProcess[str]:
    where = {"OMP_NUM_THREADS": "1", **os.environ, **env}
    return subprocess.run(
        [*COMMAND, *map(str, words)], capture_output=True, text=True, env=where, timeout=100, check=False
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*words: object, **env: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port), *map(str, words)],
        stderr=subprocess.PIPE, text=True, env={"OMP_NUM_THREADS": "1", **os.environ, **env},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until_ready(process, url)
        yield process, url
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path, astronaut_png: bytes) -> Path:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    (photos / "b.PNG").write_bytes(astronaut_png)
    (photos / "deep" / "a.png").write_bytes(astronaut_png)
    (photos / "deep" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (photos / "notes.txt").write_text("no photo")
    return photos


def test_analyze_writes_lines_and_copies_and_goes_on_after_bad_files(
    folder: Path, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    lines, drawn = tmp_path / "out.jsonl", tmp_path / "drawn"
    missing = tmp_path / "missing.jpg"
    done = run(
        "analyze",
        folder,
        missing,
        folder / "b.PNG",
        "--json",
        lines,
        "--draw",
        drawn,
        "--weights",
        tiny_checkpoint,
        *ANY,
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    complaints = done.stderr.splitlines()
    assert len(complaints) == 2, "one line for each file, no progress bar away from a terminal"
    assert "broken.jpg" in complaints[0]
    assert complaints[1] == f"allinone-face: {missing}: No such file or directory"
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["image"] for line in found] == [
        str(folder / "b.PNG"),
        str(folder / "deep/a.png"),
        str(folder / "b.PNG"),
    ]
    for line in found:
        assert (line["width"], line["height"]) == (512, 512)
        assert line["model"]
        assert 1 <= len(line["faces"]) <= 2
        assert "descriptor" not in line["faces"][0]
    assert {str(path.relative_to(drawn)) for path in drawn.rglob("*.jpg")} == {"b.jpg", "b-2.jpg", "deep/a.jpg"}
    assert cv2.imread(str(drawn / "b.jpg")).shape == (512, 512, 3)


def test_analyze_writes_to_standard_output_and_all_good_is_zero(folder: Path, tiny_checkpoint: Path) -> None:
    done = run("analyze", folder / "b.PNG", "--descriptor", "--weights", tiny_checkpoint, *ANY)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert len(json.loads(line)["faces"][0]["descriptor"]) == 512


@pytest.mark.parametrize(
    ("words", "env", "status", "said"),
    [
        (["analyze", "x.jpg", "--weights", "nowhere.safetensors"], {}, 1, "nowhere.safetensors"),
        (["analyze", "x.jpg", "--weights", __file__], {}, 1, "not a safetensors file"),
        (["analyze", "x.jpg", "--device", "gpu"], {}, 2, "FACE_DEVICE"),
        (["analyze", "x.jpg", "--device", "cuda:99"], {}, 1, "no CUDA device"),
        (["analyze", "x.jpg", "--max-faces", "0"], {}, 1, "--max_faces"),
        (["analyze", "x.jpg", "--dtype", "float16"], {}, 1, "float16"),
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


def test_a_port_in_use(tiny_checkpoint: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", "--port", port, "--weights", tiny_checkpoint)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_folder_is_a_mistake(tmp_path: Path, tiny_checkpoint: Path) -> None:
    done = run("analyze", tmp_path, "--weights", tiny_checkpoint)
    assert (done.returncode, done.stderr) == (1, "allinone-face: no photo in these folders\n")


def test_serve_end_to_end_and_its_logs_hold_nothing_personal(astronaut_png: bytes, tiny_checkpoint: Path) -> None:
    other = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)  # has no photo
    listed = f"127.0.0.1:{other.server_port}"
    with other, serving("--weights", tiny_checkpoint, FACE_IMAGE_HOSTS=listed) as (process, url):
        files = {"file": ("Ada Lovelace.png", astronaut_png, "image/png")}
        query = "min_score=0&min_size=1&max_faces=2&descriptor=true"
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


def test_told_to_stop_under_load_every_accepted_request_is_answered(
    astronaut_png: bytes, tiny_checkpoint: Path
) -> None:
    body = [("file", astronaut_png)] * 8
    with serving("--weights", tiny_checkpoint) as (process, url), httpx.Client(timeout=60) as client:
        request = client.build_request("POST", f"{url}/v1/faces?min_score=0&min_size=1", files=body)
        data = request.read()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = f"POST /v1/faces HTTP/1.1\r\nHost: x\r\nContent-Type: {request.headers['content-type']}\r\n"
            connection.sendall(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
            time.sleep(0.3)
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
from service.commands import settle
settle()
frozen = gc.get_freeze_count()
print(frozen > 10_000, len(gc.get_objects()) < frozen / 10)
"""
    ended = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, text=True)
    assert ended.stdout == "True True\n"
