"""Draws photos with emoji and animal faces, which detectors take for people's: python -m model.tools.draw_emoji.

The glyphs are those of fonts that Debian ships (`apt-get install fonts-noto-color-emoji fonts-symbola`), on plain
colours and on the photos without faces, a set's test photos under the test part alone. The result lies in the cache's
data/emoji/ folder, train/ and test/; no glyph is in both. It needs Pillow.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as Pictures

from model.datasets import Sample, cache_dir
from model.datasets.emoji import COLOUR, OUTLINE, glyph_picture, glyphs
from model.datasets.readers import backgrounds
from model.datasets.store import read_photo
from model.geometry import Image

COUNTS = {"train": 320, "test": 80}


def draw(characters: Sequence[str], photos: Sequence[Sample], rng: np.random.Generator) -> Image:
    """Draw one to six glyphs of any size, turned, on a plain colour or a photo; the picture has 96–320 px."""
    height, width = (int(v) for v in rng.integers(96, 321, 2))
    if rng.random() < 0.4:
        canvas = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    else:
        photo = read_photo(photos[int(rng.integers(len(photos)))].path)
        canvas = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    picture = Pictures.fromarray(canvas)
    for _ in range(int(rng.choice([1, 2, 4, 6], p=[0.5, 0.2, 0.2, 0.1]))):
        glyph = glyph_picture(characters[int(rng.integers(len(characters)))], rng.random() < 0.8, rng)
        side = float(np.exp(rng.uniform(np.log(24), np.log(0.95 * min(height, width)))))
        scale = side / max(glyph.size)
        glyph = glyph.resize((max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))))
        angle = rng.normal(0, 12) if rng.random() < 0.7 else rng.uniform(-180, 180)
        glyph = glyph.rotate(float(angle), Pictures.Resampling.BICUBIC, expand=True)
        corner = (
            int(rng.integers(int(-0.15 * side), int(width - 0.85 * side))),
            int(rng.integers(int(-0.15 * side), int(height - 0.85 * side))),
        )
        picture.paste(glyph, corner, glyph)
    return np.asarray(picture, np.uint8)


def main() -> None:
    """Read the command line and draw both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=cache_dir() / "data" / backgrounds.EMOJI)
    arguments = parser.parse_args()
    for path in (COLOUR, OUTLINE):
        if not path.is_file():
            parser.error(f"no font {path}: apt-get install fonts-noto-color-emoji fonts-symbola")
    empty = backgrounds.read("negatives") + backgrounds.read("negatives_objects")
    for split, count in COUNTS.items():
        rng = np.random.default_rng(sorted(COUNTS).index(split))
        photos = [s for s in empty if s.split == split]
        characters = glyphs(split)
        (arguments.out / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            picture = draw(characters, photos, rng)
            path = arguments.out / split / f"{i:03d}.webp"
            if not cv2.imwrite(str(path), picture[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 95]):
                raise OSError(f"{path} cannot be written")


if __name__ == "__main__":
    main()
