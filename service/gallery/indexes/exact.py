"""Exact search among templates in memory: float16, in shards, as many threads as there are cores.

numpy widens float16 slowly, so the bits are moved instead: a float16's exponent and mantissa, 13 bits to the left, are
a float32 that is 2^112 times too small, and the probe carries the factor. Shards are never changed, only replaced: a
search goes on over the shards it began with, without a lock, while others enrol.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARD = 16_384
"""Templates of a full shard. An enrolment copies one shard."""
BLOCK = 1 << 18
"""Numbers widened at once, 1 MiB as float32, so that they stay in the processor's cache. Of 65,536 templates of 512
numbers a search takes 8 ms so and 50 to 300 with four times as many at once."""
SMALLEST = 2.0**-14
"""Smaller components are stored as 0: as float16 they would be denormal, and they do not matter at unit length."""
_FACTOR = np.float32(2.0**112)
_MASK = np.int32(-0x70000001)  # all but the three bits that the sign leaves behind

Halves = NDArray[np.float16]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Shard:
    """n templates: vectors [n, D] of unit length, serials [n]."""

    vectors: Halves
    serials: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Index:
    """Templates by serial; a new Index for every change."""

    dimension: int
    shards: tuple[Shard, ...] = ()

    def __len__(self) -> int:
        return sum(len(shard.serials) for shard in self.shards)

    def replaced(self, rows: Iterable[tuple[int, Floats]], removed: Sequence[int] = ()) -> Index:
        """Return an index with these templates (serial, vector [D]) in place of older ones, and without `removed`.

        A template replaces the one of the same serial; of two rows of one serial the later counts.
        """
        latest = dict(rows)
        replaced_serials = np.array([*latest, *removed], np.int64)
        shards = [_without(shard, replaced_serials) for shard in self.shards]
        shards = [shard for shard in shards if len(shard.serials)]
        if latest:
            vectors = np.stack(list(latest.values()))
            shards = _appended(shards, Shard(_halves(vectors), np.fromiter(latest, np.int64, len(latest))))
        total = sum(len(shard.serials) for shard in shards)
        if len(shards) > 2 * (total // SHARD + 1):
            shards = _appended([], *shards)
        return Index(self.dimension, tuple(shards))

    def search(self, probes: Floats, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return serials and similarities [P, k] of the k = min(count, len) templates nearest to probes [P, D].

        The nearest comes first.
        """
        probes = np.atleast_2d(np.asarray(probes, np.float32))
        scaled_probes = np.ascontiguousarray(probes.T * _FACTOR)
        groups = _groups(self.shards, _threads())
        run = _pool().map if len(groups) > 1 else map
        candidates = list(run(lambda shards: _best(shards, scaled_probes, count), groups))
        if not candidates:
            return np.zeros((len(probes), 0), np.int64), np.zeros((len(probes), 0), np.float32)
        serials, scores = (np.concatenate(columns, axis=1) for columns in zip(*candidates, strict=True))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(serials, order, 1), np.take_along_axis(scores, order, 1)


def _best(
    shards: Sequence[Shard], scaled_probes: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return serials and similarities [P, k] of the best templates of some shards, in no order."""
    dimension, probes = scaled_probes.shape
    rows = max(BLOCK // dimension, 1)
    buffer = np.empty((rows, dimension), np.int32)
    scores = np.empty((sum(len(shard.serials) for shard in shards), probes), np.float32)
    start = 0
    for shard in shards:
        bits = shard.vectors.view(np.int16)
        for offset in range(0, len(bits), rows):
            chunk = bits[offset : offset + rows]
            block = buffer[: len(chunk)]
            np.copyto(block, chunk)
            np.left_shift(block, 13, out=block)
            np.bitwise_and(block, _MASK, out=block)
            np.matmul(block.view(np.float32), scaled_probes, out=scores[start : start + len(chunk)])
            start += len(chunk)
    best = np.arange(start)[:, None].repeat(probes, axis=1)
    if start > count:
        best = np.argpartition(scores, start - count, axis=0)[start - count :]
    serials = np.concatenate([shard.serials for shard in shards])
    return serials[best].T, np.take_along_axis(scores, best, axis=0).T


def _halves(vectors: Floats) -> Halves:
    vectors = np.where(np.abs(vectors) < SMALLEST, 0, vectors)
    return np.ascontiguousarray(vectors, np.float16)


def _without(shard: Shard, serials: NDArray[np.int64]) -> Shard:
    is_removed = np.isin(shard.serials, serials)
    return Shard(shard.vectors[~is_removed], shard.serials[~is_removed]) if is_removed.any() else shard


def _appended(shards: list[Shard], *more: Shard) -> list[Shard]:
    """Return the shards with the templates of `more` appended: the last shard is filled up, then new ones."""
    unfilled = [shards.pop()] if shards and len(shards[-1].serials) < SHARD else []
    vectors = np.concatenate([shard.vectors for shard in (*unfilled, *more)])
    serials = np.concatenate([shard.serials for shard in (*unfilled, *more)])
    cuts = range(0, len(serials), SHARD)
    # copies, so that no shard holds the memory of all
    return shards + [Shard(vectors[i : i + SHARD].copy(), serials[i : i + SHARD].copy()) for i in cuts]


def _groups(shards: Sequence[Shard], threads: int) -> list[Sequence[Shard]]:
    """Return runs of consecutive shards, of about one size, at most one for each thread."""
    size = -(-len(shards) // threads) if shards else 1
    return [shards[i : i + size] for i in range(0, len(shards), size)]


def _threads() -> int:
    return len(os.sched_getaffinity(0))


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_threads(), "search")
