"""Coverings drawn over faces: what is drawn over is hidden, what is not drawn over is neither changed nor hidden."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import landmarks
from model.datasets import covering

SIZE = 112
GREEN = np.array([0, 255, 0])
EYES, NOSE, MOUTH, CHIN, BROWS = [7, 10], 14, [17, 18, 19], 20, list(range(6))


def upright() -> np.ndarray:
    """The canonical face in the middle of a SIZE crop."""
    return (landmarks.CANONICAL * 80 + 16).astype(np.float32)


def placed(angle: float, scale: float) -> np.ndarray:
    """The same, turned by degrees and scaled about the crop's centre."""
    radians = np.deg2rad(angle)
    turn = scale * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return ((upright() - SIZE / 2) @ turn.T + SIZE / 2).astype(np.float32)


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(covering.KINDS),
    angle=st.floats(-180, 180),
    scale=st.floats(0.4, 1.4),
)
def test_hidden_is_what_was_drawn_over(seed, kind, angle, scale):
    points, visibility = placed(angle, scale), np.linspace(0, 1, 21).astype(np.float32)
    column, row = np.floor(points).astype(int).T
    # Two photos that differ by 60 in blue, but not at the nose, which tells the colour of a hand: what is left of
    # the difference at a landmark is how much of the photo shines through there.
    dark, light = (np.full((SIZE, SIZE, 3), (90, 90, blue), np.uint8) for blue in (90, 150))
    near_nose = np.abs(np.stack([column, row], 1) - (column[NOSE], row[NOSE])).max(axis=1) <= 2
    light[max(row[NOSE] - 2, 0) : row[NOSE] + 3, max(column[NOSE] - 2, 0) : column[NOSE] + 3] = 90
    untouched = light.copy()
    first, new = covering.cover(dark, points, visibility, np.random.default_rng(seed), kind)
    second, same = covering.cover(light, points, visibility, np.random.default_rng(seed), kind)
    assert (light == untouched).all(), "the photo that came in was changed"
    assert first.shape == dark.shape
    assert first.dtype == np.uint8
    assert (new == same).all()
    hidden = new != visibility
    assert (new[hidden] == 0).all()
    inside = (column >= 0) & (row >= 0) & (column < SIZE) & (row < SIZE)
    judged = inside & ~near_nose & (visibility > 0)
    left = second[row[judged], column[judged], 2].astype(int) - first[row[judged], column[judged], 2]
    assert (left[hidden[judged]] <= 31).all()
    assert (left[~hidden[judged]] >= 28).all()
    assert not hidden[~inside].any()
    assert (new > 0.5).sum() >= min(covering.LEAST_VISIBLE, (visibility > 0.5).sum())


@pytest.mark.parametrize(
    ("kind", "hidden", "seen"),
    [("mask", [*MOUTH, CHIN], [*EYES, *BROWS, 6, 11]), ("sunglasses", EYES, [NOSE, *MOUTH, CHIN])],
)
def test_masks_hide_the_mouth_and_sunglasses_the_eyes(kind, hidden, seen):
    photo = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    for seed in range(40):
        _, visibility = covering.cover(photo, upright(), np.ones(21), np.random.default_rng(seed), kind)
        assert (visibility[hidden] == 0).all(), seed
        assert (visibility[seen] == 1).all(), seed


def test_most_masks_hide_the_nose_tip_and_some_do_not():
    photo = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    hidden = [
        covering.cover(photo, upright(), np.ones(21), np.random.default_rng(seed), "mask")[1][NOSE] == 0
        for seed in range(100)
    ]
    assert 0.75 < np.mean(hidden) < 0.98


def test_every_kind_hides_something_and_leaves_enough_in_sight():
    photo = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    for kind in covering.KINDS:
        counts = np.array(
            [
                (covering.cover(photo, upright(), np.ones(21), np.random.default_rng(s), kind)[1] == 0).sum()
                for s in range(60)
            ]
        )
        assert (counts > 0).mean() > 0.9, kind
        assert counts.max() <= 21 - covering.LEAST_VISIBLE, kind


def test_unlabelled_visibility_stays_unlabelled_where_nothing_covers_it():
    photo = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    _, visibility = covering.cover(photo, upright(), np.full(21, np.nan), np.random.default_rng(0), "mask")
    assert (visibility[MOUTH] == 0).all()
    assert np.isnan(visibility[EYES]).all()


def test_the_same_seed_draws_the_same_covering():
    photo = np.full((SIZE, SIZE, 3), GREEN, np.uint8)
    first, second = (covering.cover(photo, upright(), np.ones(21), np.random.default_rng(7)) for _ in range(2))
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()


def test_a_face_without_all_landmarks_is_left_alone():
    photo, points = np.full((SIZE, SIZE, 3), GREEN, np.uint8), upright()
    points[3] = np.nan
    covered, visibility = covering.cover(photo, points, np.ones(21), np.random.default_rng(0))
    assert (covered == photo).all()
    assert (visibility == 1).all()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="scarf"):
        covering.cover(np.zeros((8, 8, 3), np.uint8), upright(), np.ones(21), np.random.default_rng(0), "scarf")


def test_landmarks_outside_the_photo_are_not_covered():
    opacity = np.full((10, 10), 255, np.uint8)
    points = np.array([(5, 5), (-0.1, 5), (9.9, 9.9), (10, 5), (5, 10.5)])
    assert covering.covered(opacity, points).tolist() == [True, False, True, False, False]
