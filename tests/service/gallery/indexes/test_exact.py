"""The index against the slow way: exact, whatever was added, replaced and removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.gallery.indexes import exact as search
from service.gallery.indexes.exact import Index


def units(count: int, dimension: int = 32, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(search, "SHARD", 50)
    monkeypatch.setattr(search, "BLOCK", 16 * 32)  # rows of 32 numbers


def test_widening_by_bits_is_what_numpy_does():
    """Every float16 of a sign and exponent that a template may hold, and both zeros."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values) & ((np.abs(values) >= search.SMALLEST) | (values == 0))]
    vectors = values[: len(values) // 64 * 64].reshape(-1, 64)
    index = Index(64, (search.Shard(vectors, np.arange(len(vectors))),))
    probe = np.zeros(64, np.float32)
    for column in range(64):
        probe[:] = 0
        probe[column] = 1
        serials, scores = index.search(probe, len(vectors))
        np.testing.assert_array_equal(scores[0], vectors[serials[0], column].astype(np.float32))


@pytest.mark.parametrize("count", [1, 7, 300])
def test_the_best_are_the_best(small_shards, count):
    rows = units(300)
    index = Index(32).replaced((10 * i, row) for i, row in enumerate(rows))
    assert len(index) == 300
    assert len(index.shards) == 6
    probes = units(4, seed=1)
    serials, scores = index.search(probes, count)
    exact = probes @ rows.T
    assert serials.shape == scores.shape == (4, count)
    np.testing.assert_allclose(scores, np.sort(exact, axis=1)[:, ::-1][:, :count], atol=5e-4)
    np.testing.assert_allclose(np.take_along_axis(exact, serials // 10, 1), scores, atol=5e-4)


def test_an_empty_index_and_too_large_a_count():
    assert Index(8).search(np.ones(8), 5)[0].shape == (1, 0)
    one = Index(8).replaced([(3, units(1, 8)[0])])
    assert one.search(np.ones(8), 5)[0].tolist() == [[3]]


def test_tiny_components_count_as_zero():
    row = np.full(8, 1e-6, np.float32)
    row[0] = 1
    index = Index(8).replaced([(1, row)])
    assert index.search(np.ones(8, np.float32), 1)[1][0, 0] == 1


def test_an_index_is_never_changed():
    rows = units(5)
    index = Index(32).replaced(enumerate(rows))
    before = index.search(rows[0], 5)
    index.replaced([(0, rows[1])], removed=[2, 3])
    for old, new in zip(before, index.search(rows[0], 5), strict=True):
        np.testing.assert_array_equal(old, new)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 60), min_size=1, max_size=40)), max_size=12))
@settings(max_examples=40, deadline=None)
def test_any_history_ends_in_what_is_left(history):
    """Against a dict: rows written and removed in any order, shards filled, emptied and joined."""
    rows, kept, index = units(61, 8), {}, Index(8)
    size, block = search.SHARD, search.BLOCK
    search.SHARD, search.BLOCK = 8, 4 * 8
    try:
        for step, (write, serials) in enumerate(history):
            if write:
                fresh = {serial: rows[(serial + step) % 61] for serial in serials}
                index = index.replaced(fresh.items())
                kept |= fresh
            else:
                index = index.replaced([], serials)
                kept = {s: v for s, v in kept.items() if s not in serials}
        assert len(index) == len(kept)
        assert all(0 < len(shard.serials) <= 8 for shard in index.shards)
        assert len(index.shards) <= 2 * (len(kept) // 8 + 1)
        serials, scores = index.search(rows[0], 100)
        assert sorted(serials[0].tolist()) == sorted(kept)
        np.testing.assert_allclose(scores[0], [kept[s] @ rows[0] for s in serials[0].tolist()], atol=2e-3)
    finally:
        search.SHARD, search.BLOCK = size, block
