"""The real service as a process, its page in a real Chromium, and photos to give it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import skimage.data
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.browsing import Page, save
from tests.converted import with_converted_networks
from tests.ports import free_port

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
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
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A fresh Chromium."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, Service(shutil.which("chromedriver"))) as driver:
        driver.set_script_timeout(20)
        yield driver


@pytest.fixture
def blank(browser: webdriver.Chrome) -> Iterator[Page]:
    """A window of 1280 × 860; at the end nothing stands in the console and no other host was asked."""
    page = Page(browser)
    page.devtools("Emulation.setEmulatedMedia", features=[])
    page.resize(1280, 860)
    page.console(), page.requested()
    yield page
    host = urlsplit(browser.current_url).netloc
    assert page.console() == []
    assert page.requested() <= {host}


@pytest.fixture
def page(blank: Page, service_url: str) -> Page:
    """The page, ready for a photo."""
    blank.open(service_url)
    return blank


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
