"""The page in a browser, in the words of someone who uses it; photos in files."""

import base64
import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait


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

    def until(self, holds: Callable[[], Any], seconds: float = 20) -> None:
        """Wait until it holds, or fail."""
        WebDriverWait(self.driver, seconds, 0.05).until(lambda _: holds())

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a JavaScript function's body; it may await."""
        wrapped = f"const [...args] = arguments, done = args.pop(); (async () => {{ {script} }})().then(done)"
        return self.driver.execute_async_script(wrapped, *arguments)

    def devtools(self, command: str, **parameters: Any) -> dict[str, Any]:
        """One command of Chromium's own protocol."""
        return self.driver.execute_cdp_cmd(command, parameters)

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

    def console(self) -> list[str]:
        """Errors and warnings of the console so far, without the refusals a test asked the server for."""
        entries = self.driver.get_log("browser")
        return [e["message"] for e in entries if e["source"] != "network" or "favicon" in e["message"]]

    def requested(self) -> set[str]:
        """Hosts asked for anything so far."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return {urlsplit(url).netloc for url in sent if not url.startswith(("blob:", "data:", "chrome:"))}


def save(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> Path:
    """Write an RGB image [H, W, 3] in the format of its suffix."""
    assert cv2.imwrite(str(path), image[:, :, ::-1], list(options))
    return path
