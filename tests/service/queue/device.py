"""A worker whose device is the test's: it finds no faces and does as the photo's colour says.

red      it kills its process, as a fault in native code would
green    it raises, as a device-side assert would
blue     it takes a second
grey     it takes FACE_TEST_SECONDS (0) a photo
"""

import os
import signal
import sys
import time

import cv2
import numpy as np
import torch

from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.structures import Faces
from service.__main__ import main
from service.commands.worker import work
from service.config import Settings

COMMANDS = ("service.commands.api", "service.queue.consumer", "service.worker.loop")
"""Modules that the commands import when they start."""
COLOURS = {"red": (0, 0, 255), "green": (0, 255, 0), "blue": (255, 0, 0), "grey": (128, 128, 128)}


def photo(colour: str, side: int = 32) -> bytes:
    """A PNG of one colour."""
    return bytes(cv2.imencode(".png", np.full((side, side, 3), COLOURS[colour], np.uint8))[1])


class Device(Analyzer):
    """The Analyzer's checkpoint and interface, none of its work."""

    def analyze(self, images, limits=None, timings=None):  # type: ignore[override]
        """No faces."""
        colours = [tuple(image[0, 0]) for image in images]
        if (255, 0, 0) in colours:
            os.kill(os.getpid(), signal.SIGKILL)
        if (0, 255, 0) in colours:
            raise RuntimeError("device-side assert")
        time.sleep(colours.count((0, 0, 255)) + len(images) * float(os.environ.get("FACE_TEST_SECONDS", "0")))
        return [Faces.empty() for _ in images]


def run(command: str, env: dict[str, str], log: str) -> None:
    """`allinone-face api` or `allinone-face worker` with this device, in a process of its own that logs into a file."""
    with open(log, "wb") as out:  # noqa: PTH123
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("FACE_")]:
        del os.environ[name]
    os.environ.update(env)
    torch.set_num_threads(1)
    if command == "api":
        main(["api"])
    sys.exit(work(Settings(), lambda settings: Device(AnalyzerConfig(weights=settings.weights, engine="torch"))))
