"""The real service as a process, its page in a real Chromium, and photos to give it."""

import shutil
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.browser.browsing import Page
from tests.shipped import photos, service_url

__all__ = ["photos", "service_url"]

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
