"""The service as a process with the weights that ship, and photos to give it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
import skimage.data

from tests.converted import with_converted_networks
from tests.ports import free_port

MAX_PIXELS = 4_000_000


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`allinone-face serve` on a free port, ready."""
    folder = with_converted_networks(tmp_path_factory.mktemp("service"))
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    environment = os.environ | {"FACE_DATA_DIR": str(folder), "FACE_MAX_PIXELS": str(MAX_PIXELS)}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_ready(url, process, folder / "log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"never ready: {log.read_text()}")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder: astronaut.png with one face, coffee.jpg with none, and files that must be refused."""
    folder = tmp_path_factory.mktemp("photos")
    whole = save(folder / "astronaut.png", skimage.data.astronaut())
    save(folder / "coffee.jpg", skimage.data.coffee())
    (folder / "cut.png").write_bytes(whole.read_bytes()[:20_000])
    (folder / "letter.png").write_text("Dear Sir or Madam")
    save(folder / "vast.png", np.zeros((2_001, 2_000, 3), np.uint8))
    return folder


def save(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> Path:
    """Write an RGB image [H, W, 3] in the format of its suffix."""
    assert cv2.imwrite(str(path), image[:, :, ::-1], list(options))
    return path
