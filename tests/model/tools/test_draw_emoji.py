"""Drawn emoji: the two parts share no glyph and no photo, and the reader finds what the tool wrote."""

import numpy as np
import pytest

from model.datasets.readers import backgrounds
from model.datasets.store import read_photo
from model.tools import draw_emoji
from tests.model.conftest import World, world, world_folders

__all__ = ["world", "world_folders"]

needs_fonts = pytest.mark.skipif(
    not (draw_emoji.COLOUR.is_file() and draw_emoji.OUTLINE.is_file()), reason="the emoji fonts are not installed"
)


def test_no_glyph_is_in_both_parts_and_none_shows_a_person():
    train, test = draw_emoji.glyphs("train"), draw_emoji.glyphs("test")
    assert not set(train) & set(test)
    assert len(train) > 3 * len(test) > 30
    people = {chr(code) for code in (0x1F926, 0x1F977, 0x1F47C, 0x1F9D1, 0x1F476, *range(0x1F466, 0x1F479))}
    assert not people & {*train, *test}


@needs_fonts
def test_a_glyph_is_drawn_in_colour_or_in_one_ink():
    rng = np.random.default_rng(0)
    for colour, many in ((True, True), (False, False)):
        picture = np.asarray(draw_emoji.glyph_picture("\U0001f600", colour, rng))
        assert min(picture.shape[:2]) > 60
        inks = np.unique(picture[picture[..., 3] == 255][:, :3], axis=0)
        assert (len(inks) > 10) == many


@needs_fonts
def test_the_reader_finds_what_the_tool_wrote(world: World, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_emoji, "COUNTS", {"train": 12, "test": 3})
    monkeypatch.setattr("sys.argv", ["draw_emoji"])
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path))
    (tmp_path / "data").mkdir()
    for name in ("negatives", "negatives_objects"):
        (tmp_path / "data" / name).symlink_to(world.cache / "data" / name)
    draw_emoji.main()
    samples = backgrounds.read(backgrounds.EMOJI)
    assert len(samples) == 15
    assert sum(s.split == "test" for s in samples) == 3
    assert {s.split for s in samples} <= {"train", "val", "test"}
    assert all(s.faces == 0 and s.landmarks is None for s in samples)
    for sample in samples:
        height, width = read_photo(sample.path).shape[:2]
        assert 96 <= min(height, width) <= max(height, width) <= 320


def test_a_cache_without_emoji_has_none(tmp_path, monkeypatch):
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path))
    assert backgrounds.read(backgrounds.EMOJI) == []
