"""Emoji and faces of animals, drawn from fonts of Debian (packages fonts-noto-color-emoji and fonts-symbola)."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image as Pictures
from PIL import ImageDraw, ImageFont

FONTS = Path("/usr/share/fonts/truetype")
COLOUR = FONTS / "noto/NotoColorEmoji.ttf"
OUTLINE = FONTS / "ancient-scripts/Symbola_hint.ttf"
COLOUR_SIZE = 109
"""The only size of the colour font's bitmaps."""
RANGES = (
    (0x1F600, 0x1F644),  # smileys
    (0x1F910, 0x1F917),
    (0x1F920, 0x1F925),
    (0x1F927, 0x1F92F),
    (0x1F970, 0x1F976),
    (0x1F97A, 0x1F97A),
    (0x1F42D, 0x1F43C),  # faces of animals
    (0x1F981, 0x1F981),
    (0x1F984, 0x1F984),
    (0x1F98A, 0x1F98A),
    (0x1F31A, 0x1F31E),  # moons and suns with faces
    (0x1F479, 0x1F47B),  # ogres and a ghost
    (0x1F47D, 0x1F47F),
    (0x1F916, 0x1F916),  # a robot
    (0x1F383, 0x1F383),  # a carved pumpkin
    (0x1F648, 0x1F64A),  # monkeys
    (0x1F4A9, 0x1F4A9),
)
"""First and last code point of each run of glyphs with a face; people's faces are not among them."""


def glyphs(split: str) -> list[str]:
    """Return the characters of a part; every fifth is in the test part."""
    characters = [chr(code) for first, last in RANGES for code in range(first, last + 1)]
    return [c for i, c in enumerate(characters) if (i % 5 == 0) == (split == "test")]


def glyph_picture(character: str, colour: bool, rng: np.random.Generator) -> Pictures.Image:
    """Return a glyph as an RGBA picture cut to what is drawn: in colour, or as an outline in a random colour."""
    font = ImageFont.truetype(str(COLOUR if colour else OUTLINE), COLOUR_SIZE if colour else 160)
    picture = Pictures.new("RGBA", (260, 260))
    ink = cast(tuple[int, int, int], tuple(int(v) for v in rng.integers(0, 256, 3)))
    ImageDraw.Draw(picture).text((40, 20), character, font=font, fill=(*ink, 255), embedded_color=colour)
    return picture.crop(picture.getbbox())
