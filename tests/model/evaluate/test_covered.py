"""The protocol on masked and dim faces and emoji: what is done to photos, and what is counted."""

import numpy as np
import pytest

from model.datasets import emoji
from model.evaluate import covered

PHOTO = np.full((100, 100, 3), 200, np.uint8)


def face_points():
    """68 points: a half circle of jaw from ear to ear, the nose's bridge above its middle."""
    points = np.full((68, 2), 50.0)
    angles = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([50 + 30 * np.cos(angles), 45 + 40 * np.sin(angles)], axis=1)
    points[covered.BRIDGE] = 50, 40
    return points


def test_a_mask_is_black_from_the_chin_to_the_bridge_of_the_nose_and_leaves_the_eyes():
    masked = covered.masked(PHOTO, face_points())
    assert (masked[60:80, 50] == 0).all()
    assert (masked[:38] == 200).all()
    assert (masked[90:] == 200).all()
    assert (PHOTO == 200).all()


def test_dimmed_photos_have_fifteen_hundredths_of_their_light():
    assert (covered.dimmed(PHOTO, face_points()) == 30).all()


def test_the_emoji_are_forty_and_about_half_of_them_are_kept_from_training():
    characters = covered.emoji_characters()
    assert len(set(characters)) == covered.COUNT
    assert 0.4 < len(set(characters) & set(emoji.glyphs("test"))) / covered.COUNT <= 0.5


@pytest.mark.skipif(not emoji.COLOUR.is_file(), reason="the emoji font is not installed")
def test_an_emoji_photo_shows_the_glyph_on_white():
    photo = covered.emoji_photo("\U0001f600")
    assert photo.shape == (covered.EMOJI_SIDE, covered.EMOJI_SIDE, 3)
    assert (photo[:30] == 255).all()
    assert (photo[160, 160] != 255).any()


def test_what_is_found_is_counted_by_kind():
    result = covered.score({"plain": [True, True], "masked": [True, False], "dimmed": []}, [True, False, False])
    values = {figure.name: figure.value for figure in result.figures}
    assert values == {"found_plain": 2, "found_masked": 1, "found_dimmed": 0, "emoji_taken_for_faces": 1}
