"""Thresholds on synthetic people whose truth is known: held on others, covered by their intervals, probable."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.special

from model.identity.calibration import Calibration, all_pairs, calibrate


def people(count: int, photos: int, seed: int, spread: float = 0.75, dimension: int = 24) -> tuple[np.ndarray, ...]:
    """Vectors of people in random directions, their photos scattered about them; some have more photos than others."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count, dimension))
    subjects = np.repeat(np.arange(count), rng.integers(2, 2 * photos - 1, size=count))
    return centres[subjects] + spread * rng.normal(size=(len(subjects), dimension)), subjects


def sorted_out(count: int, photos: int, seed: int) -> tuple[np.ndarray, ...]:
    """The same, but what is a person's own lies in 12 of 48 dimensions."""
    rng = np.random.default_rng(seed)
    centres = np.pad(rng.normal(size=(count, 12)), ((0, 0), (0, 36)))
    subjects = np.repeat(np.arange(count), rng.integers(2, 2 * photos - 1, size=count))
    return centres[subjects] + 0.4 * rng.normal(size=(len(subjects), 48)), subjects


@pytest.fixture(scope="module")
def found() -> Calibration:
    return calibrate(*people(150, 6, 0), "cosine", resamples=100)


@pytest.fixture(scope="module")
def others():
    return all_pairs(*people(400, 5, 1), keep=1.0)


def test_all_pairs_agrees_with_the_slow_way():
    vectors, subjects = people(12, 4, 3)
    pairs = all_pairs(vectors, subjects, keep=1.0, block=7)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    genuine, impostor = [], []
    for i in range(len(units)):
        for j in range(i):
            (genuine if subjects[i] == subjects[j] else impostor).append(units[i] @ units[j])
    np.testing.assert_allclose(np.sort(pairs.genuine), np.sort(genuine), atol=1e-6)
    np.testing.assert_allclose(pairs.impostor, np.sort(impostor)[::-1], atol=1e-6)
    assert pairs.impostor_pairs == len(impostor)


def test_only_the_highest_impostors_are_kept():
    vectors, subjects = people(80, 6, 4)
    every, some = all_pairs(vectors, subjects, keep=1.0), all_pairs(vectors, subjects, keep=0.1, block=100)
    assert 10_000 <= len(some.impostor) < len(every.impostor)
    # The products of blocks of another size round differently.
    np.testing.assert_allclose(some.impostor, every.impostor[: len(some.impostor)], atol=1e-6)


def test_thresholds_hold_their_rate_on_the_same_and_on_other_people(found, others):
    own = all_pairs(*people(150, 6, 0), keep=1.0)
    for threshold in found.thresholds:
        t = threshold
        assert (own.impostor >= t.value).mean() <= t.far
        assert (own.impostor >= t.value).mean() == pytest.approx(t.far, rel=0.1)
        assert t.tar == (own.genuine >= t.value).mean()
        assert t.low <= t.value <= t.high
        truth = np.quantile(others.impostor, 1 - t.far)
        assert t.low - 0.01 <= truth <= t.high + 0.01
        assert (others.impostor >= t.value).mean() < 3 * t.far
    values = [t.value for t in found.thresholds]
    assert [t.far for t in found.thresholds] == [1e-2, 1e-3, 1e-4]
    assert values == sorted(values)


def test_intervals_narrow_with_more_people():
    wide, narrow = (
        calibrate(*people(n, 5, n), "cosine", rates=(1e-2,), resamples=100).thresholds[0] for n in (25, 200)
    )
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


def test_probability_is_what_happens(found, others):
    """Of the pairs scored about p, a share p is genuine, both kinds asked about equally often."""
    rng = np.random.default_rng(0)
    count = min(len(others.genuine), 20_000)
    genuine, impostor = (rng.choice(scores, count) for scores in (others.genuine, others.impostor))
    chances = np.array([[found.probability(float(s)) for s in kind] for kind in (genuine, impostor)])
    for low in np.arange(0, 1, 0.2):
        mates, strangers = ((chances >= low) & (chances < low + 0.2)).sum(axis=1)
        inside = chances[(chances >= low) & (chances < low + 0.2)]
        assert mates / (mates + strangers) == pytest.approx(inside.mean(), abs=0.08)
    assert found.probability(1.0) > 0.999
    assert found.probability(-1.0) < 1e-3
    assert found.probability(0.6, prior=0.01) < found.probability(0.6) < found.probability(0.6, prior=0.9)


@pytest.mark.parametrize("size", [1, 30, 300])
def test_strangers_are_rarely_matched_whatever_the_size_of_the_gallery(found, size):
    """1:N: of strangers searched in galleries of N people, at most about FPIR match anybody."""
    rng = np.random.default_rng(7)
    threshold = found.identification_threshold(size, 0.05)
    wrong, probes = 0, 400
    for _ in range(4):
        gallery, probe = (people(n, 2, int(rng.integers(1e9)))[0][:n] for n in (size, probes))
        gallery, probe = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (gallery, probe))
        wrong += int(((probe @ gallery.T).max(axis=1) >= threshold).sum())
    assert wrong / (4 * probes) <= 0.05 * 1.5


@pytest.mark.parametrize(("far", "stricter"), [(1e-5, 5), (1e-6, 10), (1e-7, 20)])
def test_beyond_what_was_measured_the_tail_is_that_of_directions_in_space(found, far, stricter):
    """Strangers here are independent directions in 24 dimensions, whose cosine has a known law: Beta."""
    threshold = found.threshold(far)
    rate = scipy.special.betainc(23 / 2, 1 / 2, 1 - threshold**2) / 2
    assert far / stricter < rate < far * 2


@pytest.mark.parametrize("media", [2, 5, 12])
def test_a_template_of_several_media_needs_a_higher_threshold(media):
    """Against templates of other people strangers' photos pass as often as against single photos, within twice.

    Probes of several photos pass up to three times as often (without shifts: 20 times).
    What tells people apart has 12 dimensions here, what differs between photos of one person 48: pooling removes that.
    """
    found = calibrate(*sorted_out(150, 8, 10), "cosine", resamples=5)
    vectors, subjects = sorted_out(300, 20, 11)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    numbers = [s for s in range(300) if (subjects == s).sum() >= media]
    pooled = np.stack([vectors[subjects == s][:media].mean(axis=0) for s in numbers])
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    numbers = np.array(numbers)
    for probes, owners, counts, most in (
        (units, subjects, (media,), 2),
        (pooled, numbers, (media, media), 3),
    ):
        scores = (probes @ pooled.T)[owners[:, None] != numbers[None]]
        for far in (1e-2, 1e-3):
            rate = (scores >= found.threshold(far, counts)).mean()
            assert 0.5 * far < rate < most * far
            assert (scores >= found.threshold(far)).mean() > 1.3 * rate, "what it is without"
    assert found.pooling > 0.05
    assert found.pooling_both > 0
    assert found.threshold(1e-2, [media, media]) > dataclasses.replace(found, pooling_both=0.0).threshold(
        1e-2, [media] * 2
    )
    assert found.threshold(1e-2) < found.threshold(1e-2, [media]) < found.threshold(1e-2, [media, media]) < 1
    assert found.threshold(1e-2, [1, 1]) == found.threshold(1e-2, [0]) == found.threshold(1e-2)
    assert found.identification_threshold(50, media=[media]) > found.identification_threshold(50)
    assert found.probability(0.6, media=[media]) < found.probability(0.6)


def test_people_of_one_photo_but_one_tell_nothing_of_pooling():
    rng = np.random.default_rng(0)
    vectors, subjects = rng.normal(size=(500, 16)), np.arange(500)
    subjects[1] = 0
    assert 0 <= calibrate(vectors, subjects, "cosine", resamples=3).pooling < 1


def test_identification_is_stricter_with_size_and_never_laxer_than_measured(found):
    sizes = [found.identification_threshold(n) for n in (0, 1, 10, 100, 1000, 10**5, 10**7)]
    assert sizes[0] == sizes[1]
    assert sizes == sorted(sizes)
    assert found.threshold(1e-6) >= found.thresholds[-1].value
    assert found.threshold(1e-3) == pytest.approx(found.thresholds[1].value)
    assert found.thresholds[1].value < found.threshold(5e-4) < found.thresholds[2].value


def test_the_same_photos_give_the_same_calibration_and_it_travels_as_json(found):
    again = calibrate(*people(150, 6, 0), "cosine", resamples=100)
    assert again == found
    assert Calibration.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    with pytest.raises(ValueError, match="calibration data"):
        Calibration.from_dict({"thresholds": []})


@pytest.mark.parametrize(
    ("vectors", "subjects", "words"),
    [
        (np.eye(4), np.arange(4), "two photos"),
        (np.eye(4), np.zeros(4), "two people"),
        (*people(10, 3, 0), "a false accept rate of 0.0001 needs 100,000"),
    ],
)
def test_too_few_people_are_refused(vectors, subjects, words):
    with pytest.raises(ValueError, match=words):
        calibrate(vectors, subjects, "cosine")


def test_senseless_rates_and_sizes_are_refused(found):
    for call in (
        lambda: found.threshold(0),
        lambda: found.identification_threshold(-1),
        lambda: found.identification_threshold(5, 1.0),
        lambda: found.probability(0.5, prior=1.0),
    ):
        with pytest.raises(ValueError, match=r"must lie|lies between|has no"):
            call()
