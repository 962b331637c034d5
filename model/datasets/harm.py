"""Photos as they come from poor cameras: dark, small, blurred or packed tightly. Their labels stay true."""

from __future__ import annotations

import cv2
import numpy as np

from model.geometry import Image

KINDS = ("dark", "small", "packed", "blurred")


def harm(image: Image, rng: np.random.Generator) -> Image:
    """Harm a photo in one of KINDS, or in two for a third of the draws, each with random strength."""
    for kind in rng.choice(KINDS, 1 if rng.random() < 2 / 3 else 2, replace=False):
        image = HARMS[str(kind)](image, rng)
    return image


def dark(image: Image, rng: np.random.Generator) -> Image:
    """Darken: raise values to a power, weaken them and add a sensor's noise, at most value² × 0.3 with noise of 6."""
    power = rng.uniform(1.2, 2.2)
    gain = rng.uniform(0.3, 0.8)
    noise = rng.uniform(1, 6)
    table = 255 * gain * (np.arange(256) / 255) ** power
    light = table.astype(np.float32)[image] + rng.standard_normal(image.shape, np.float32) * noise
    return np.clip(light, 0, 255).astype(np.uint8)


def small(image: Image, rng: np.random.Generator) -> Image:
    """Shrink to between a sixth and a half, and enlarge to the old size again."""
    height, width = image.shape[:2]
    share = rng.uniform(1 / 6, 1 / 2)
    size = max(round(width * share), 4), max(round(height * share), 4)
    shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def packed(image: Image, rng: np.random.Generator) -> Image:
    """Compress as JPEG of quality 5 to 25."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(5, 26))])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def blurred(image: Image, rng: np.random.Generator) -> Image:
    """Blur by a Gaussian of 0.8 to 3 pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 3.0)), np.uint8)


HARMS = {"dark": dark, "small": small, "packed": packed, "blurred": blurred}
