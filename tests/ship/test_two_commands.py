"""The README's promise: a clean clone, its first command as written, and a photo answered. The second is .ci/run."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import httpx
import pytest
import skimage.data

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = re.findall(r"^```sh\n(.*?)\n```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[:2]


def test_there_are_two_commands_of_one_line_each():
    start, test = COMMANDS
    assert "\n" not in start + test
    assert start.endswith("allinone-face serve")
    assert test == ".ci/run"
    assert os.access(ROOT / test, os.X_OK)


@pytest.mark.timeout(1500)
def test_the_first_command_starts_the_service_from_a_clean_clone(tmp_path: Path):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, capture_output=True)
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    own = ("FACE_", "PYTHON", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    here = str(Path(sys.executable).parent)
    env["PATH"] = ":".join(folder for folder in env["PATH"].split(":") if folder != here)
    env |= {"HOME": str(tmp_path), "FACE_PORT": str(port), "PIP_NO_COMPILE": "1"}
    log = tmp_path / "log"
    with log.open("w") as file:
        process = subprocess.Popen(
            COMMANDS[0], shell=True, cwd=clone, env=env, stdout=file, stderr=file, start_new_session=True
        )
    try:
        end = time.monotonic() + 1200
        while not ready(f"http://127.0.0.1:{port}/readyz"):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(1)
        photo = cv2.imencode(".jpg", skimage.data.astronaut()[:, :, ::-1])[1].tobytes()
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/faces", content=photo, timeout=100)
        assert answer.status_code == 200
        assert len(answer.json()["faces"]) == 1
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def ready(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False
