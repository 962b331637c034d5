"""The page in a browser, in the words of someone who uses it; photos in files."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from axe_core_python.selenium import Axe
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.foreign import foreign_packages

AXE = "axe-core@4.14.1"

NETWORK = ("http", "https", "ws", "wss", "ftp")
"""Schemes of URLs that leave the browser."""


class Page:
    """The page in a browser, in the words of someone who uses it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        """Load the page and wait until it has met its server."""
        self.driver.get(url)
        self.until(lambda: self.text("service-text") not in ("", "Connecting …"))

    def find(self, selector: str) -> WebElement:
        """The first element."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """Every element."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, element_id: str) -> str:
        """What stands in an element, seen or not."""
        return str(self.find(f"#{element_id}").get_property("textContent"))

    def text_of(self, selector: str) -> str:
        """What stands in the first element of a selector, seen or not."""
        return str(self.find(selector).get_property("textContent"))

    def until(self, holds: Callable[[], Any], seconds: float = 20) -> None:
        """Wait until it holds, or fail."""
        replaced = [StaleElementReferenceException]  # by a new list while it was looked at
        WebDriverWait(self.driver, seconds, 0.05, replaced).until(lambda _: holds())

    def until_downloaded(self, path: Path) -> None:
        """Wait until a download has come whole: Chromium first makes an empty file of that name."""
        self.until(lambda: path.exists() and path.stat().st_size > 0)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript function's body; it may await."""
        wrapped = f"const [...args] = arguments, done = args.pop(); (async () => {{ {script} }})().then(done)"
        return self.driver.execute_async_script(wrapped, *arguments)

    def devtools(self, command: str, **parameters: Any) -> dict[str, Any]:
        """One command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

    @contextmanager
    def slow_network(self, milliseconds: float) -> Iterator[None]:
        """Delay every request by so much."""
        unlimited = {"offline": False, "downloadThroughput": -1, "uploadThroughput": -1}
        self.devtools("Network.enable")
        self.devtools("Network.emulateNetworkConditions", latency=milliseconds, **unlimited)
        try:
            yield
        finally:
            self.devtools("Network.emulateNetworkConditions", latency=0, **unlimited)

    def resize(self, width: int, height: int) -> None:
        """Make the window so large; narrow ones are phones."""
        phone = width < 500
        size = {"width": width, "height": height, "deviceScaleFactor": 2 if phone else 1}
        self.devtools("Emulation.setDeviceMetricsOverride", **size, mobile=phone)

    def choose(self, *photos: Path) -> None:
        """Give files to the file input, as the browser's own dialog does."""
        self.find("#files").send_keys("\n".join(map(str, photos)))

    def settled(self) -> None:
        """Wait until no photo is in work."""
        self.until(lambda: not self.all("li[data-state=waiting], li[data-state=working]"))

    def answer(self) -> dict[str, Any]:
        """The answer that the page shows as JSON."""
        self.until(lambda: self.find("#facts").is_displayed())
        found: dict[str, Any] = json.loads(self.text("json"))
        return found

    def ink(self, x: float, y: float) -> list[int]:
        """RGBA of the overlay at a point of the photo (the most opaque pixel there); 0 0 0 0 where nothing is drawn."""
        width = json.loads(self.text("json"))["width"]
        drawn = self.overlay()
        scale = drawn.shape[1] / width
        column, row = int(x * scale), int(y * scale)
        around = drawn[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].reshape(-1, 4)
        return list(map(int, around[around[:, 3].argmax()]))

    def overlay(self) -> np.ndarray:
        """What is drawn over the photo, RGBA [H, W, 4]."""
        script = "return args[0].toDataURL().split(',')[1]"
        png = base64.b64decode(self.run(script, self.find("#overlay")))
        return np.asarray(Image.open(BytesIO(png)))

    def unseen_by(self, selector: str) -> bool:
        """Whether no element of this selector is seen."""
        return not any(element.is_displayed() for element in self.all(selector))

    def give(self, selector: str, *photos: Path) -> None:
        """Give files to a place that takes photos."""
        self.find(f"{selector} input[type=file]").send_keys("\n".join(map(str, photos)))

    def transfer(self, selector: str, way: str, *photos: Path) -> None:
        """Paste photos into an element, or drop them on it."""
        files = [[photo.name, list(photo.read_bytes())] for photo in photos]
        self.run("""
            const [selector, way, files] = args;
            const data = new DataTransfer();
            for (const [name, bytes] of files) {
                data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
            }
            const event = way === "paste"
                ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
                : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
            document.querySelector(selector).dispatchEvent(event);""", selector, way, files)  # fmt: skip

    def colors(self, scheme: str) -> None:
        """Prefer light or dark colours."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def violations(self) -> list[tuple[str, list[str]]]:
        """What axe-core finds against the accessibility of the page as it stands: rules, and where they are broken."""
        found = axe().run(self.driver)["violations"]
        return [(each["id"], [node["html"][:120] for node in each["nodes"]]) for each in found]

    def console(self) -> list[str]:
        """Errors and warnings of the console so far, without the refusals a test asked the server for."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["source"] != "network" or "favicon" in e["message"]]

    def requested(self) -> set[str]:
        """Hosts asked for anything so far; not Chromium's own pages, such as chrome-untrusted://new-tab-page."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in sent if urlsplit(url).scheme in NETWORK}


@cache
def axe() -> Axe:
    """axe-core as npm has it; where npm is missing or reaches nothing, the older one that a Python package ships."""
    try:
        return Axe.from_file(foreign_packages(AXE) / "node_modules" / "axe-core" / "axe.min.js")
    except pytest.skip.Exception:
        return Axe()
