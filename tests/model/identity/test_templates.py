"""Pooling: the paper's order of means, properties under any order and repetition, outliers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.identity.templates import MODES, Medium, cosine, pool

elements = st.floats(-1, 1, width=32)


@st.composite
def people(draw: st.DrawFn) -> list[Medium]:
    """One to five media of one to four frames that point roughly one way, so that they cannot cancel out."""
    centre = np.full(6, 3.0)
    media = []
    for _ in range(draw(st.integers(1, 5))):
        count = draw(st.integers(1, 4))
        frames = centre + draw(arrays(np.float64, (count, 6), elements=elements))
        quality = draw(arrays(np.float64, count, elements=st.floats(0, 1)))
        media.append(Medium(frames / np.linalg.norm(frames, axis=1, keepdims=True), quality))
    return media


@given(people(), st.sampled_from(MODES), st.sampled_from([None, 0.99]), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_order_and_repetition_change_nothing(media, mode, floor, random):
    """Bit for bit: shuffled media, shuffled frames, every medium twice."""
    template = pool(media, mode, floor)
    assert template.vector.dtype == np.float32
    assert np.linalg.norm(template.vector) == pytest.approx(1, abs=1e-6)
    shuffled = [*media, *media]
    random.shuffle(shuffled)
    orders = [random.sample(range(len(m.descriptors)), len(m.descriptors)) for m in shuffled]
    shuffled = [Medium(m.descriptors[o], m.quality[o]) for m, o in zip(shuffled, orders, strict=True)]
    again = pool(shuffled, mode, floor)
    np.testing.assert_array_equal(again.vector, template.vector)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 4), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_a_linear_projection_commutes_with_mean_pooling(seed, frames):
    """W before pooling or after it: one template (why a gallery can keep projected descriptors only)."""
    rng = np.random.default_rng(seed)
    media = [Medium(3 + rng.normal(size=(count, 6)), rng.random(count)) for count in frames]
    projection = rng.normal(size=(4, 6)) + np.eye(4, 6) * 10
    for mode in ("media", "quality"):
        before = pool([Medium(m.descriptors @ projection.T, m.quality) for m in media], mode).vector
        assert cosine(before, projection @ pool(media, mode).vector) == pytest.approx(1, abs=1e-6)


def test_a_video_counts_as_much_as_a_photo():
    """Frames first, then media: nine frames of one kind weigh as much as one photo of another."""
    video = Medium(np.stack([np.eye(4)[0] * (1 + i / 100) for i in range(9)]))
    photo = Medium(np.eye(4)[1:2])
    vector = pool([video, photo]).vector
    expected = np.array([1.04, 1, 0, 0])
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_median_takes_the_middle_of_each_element_over_all_frames():
    frames = np.array([[1.0, 0.2, 0.0], [0.8, 0.4, 0.1], [0.1, 0.9, 0.3]])
    vector = pool([Medium(frames[:2]), Medium(frames[2:])], "median").vector
    expected = np.array([0.8, 0.4, 0.1])
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-6)


def test_quality_weighs_and_no_quality_at_all_weighs_evenly():
    good, poor = Medium(np.eye(3)[:1], np.array([0.9])), Medium(np.eye(3)[1:2], np.array([0.1]))
    np.testing.assert_allclose(
        pool([good, poor], "quality").vector, np.array([0.9, 0.1, 0]) / np.hypot(0.9, 0.1), atol=1e-6
    )
    nothing = [Medium(m.descriptors, np.zeros(1)) for m in (good, poor)]
    np.testing.assert_allclose(pool(nothing, "quality").vector, pool([good, poor]).vector)


def test_a_stranger_among_the_media_is_left_out_in_every_order():
    rng = np.random.default_rng(0)
    own = [Medium((np.eye(16)[0] + rng.normal(0, 0.1, 16))[None]) for _ in range(4)]
    stranger = Medium(np.eye(16)[1:2])
    clean = pool(own).vector
    for order in itertools.permutations(range(5)):
        media = [([*own, stranger])[i] for i in order]
        template = pool(media, reject_below=0.3)
        assert template.used == tuple(i != 4 for i in order)
        np.testing.assert_array_equal(template.vector, clean)
    assert all(pool([own[0], stranger], reject_below=0.3).used), "of two nobody can say which is wrong"


@pytest.mark.parametrize(
    ("media", "words"),
    [
        ([], "at least one medium"),
        ([Medium(np.eye(3)[:1]), Medium(np.eye(4)[:1])], "one dimension"),
        ([Medium(np.eye(3)[:1]), Medium(-np.eye(3)[:1])], "cancel"),
    ],
)
def test_what_cannot_be_pooled_is_refused(media, words):
    with pytest.raises(ValueError, match=words):
        pool(media)


@pytest.mark.parametrize(
    ("descriptors", "quality"),
    [
        (np.zeros((0, 3)), None),
        (np.zeros(3), None),
        (np.zeros((1, 3)), None),
        (np.array([[np.nan, 1]]), None),
        (np.eye(2), np.ones(1)),
        (np.eye(2), np.array([0.5, 1.5])),
    ],
)
def test_a_bad_medium_is_refused(descriptors, quality):
    with pytest.raises(ValueError, match=r"descriptor|quality"):
        Medium(descriptors, quality)


def test_a_bad_mode_is_refused():
    with pytest.raises(ValueError, match="media, median, quality"):
        pool([Medium(np.eye(2)[:1])], "mean")
