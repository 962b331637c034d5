"""How long a search takes: python tests/bench/gallery.py [--sizes 100000 1000000] [--dimension 512].

Exact search of one probe among templates in memory, float16, on the processors this process may use; the median and
the 95th percentile of so many searches. Also enrolment and the whole Gallery.search over a SQLite file.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from service.crypto.vault import Vault, new_key
from service.gallery import NewMedium
from service.gallery.gallery import Gallery
from service.gallery.indexes.exact import SHARD, Index, Shard
from service.gallery.stores.sqlite import SqliteStore

ENROLLED = 2_000


def filled(size: int, dimension: int) -> Index:
    """An index of so many random templates, as enrolment makes it."""
    rng = np.random.default_rng(0)
    shards = []
    for start in range(0, size, SHARD):
        vectors = rng.normal(size=(min(SHARD, size - start), dimension)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        shards.append(Shard(vectors.astype(np.float16), np.arange(start, start + len(vectors))))
    return Index(dimension, tuple(shards))


def measure(work: Callable[[], object], times: int) -> str:
    """Milliseconds: median and 95th percentile, after a run that does not count."""
    work()
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return f"{statistics.median(taken):8.2f} ms median {np.percentile(taken, 95):8.2f} ms p95, of {times}"


def over_sqlite(dimension: int) -> None:
    """Enrolment and search through the whole Gallery."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(ENROLLED, 1, dimension)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery(SqliteStore(Path(folder) / "gallery.db"), Vault([new_key()]))
        gallery.put_collection("bench", "m", dimension)
        started = time.perf_counter()
        for number, vector in enumerate(vectors):
            gallery.add_media("bench", f"p{number}", "m", [NewMedium("m", vector, np.ones(1, np.float32))], create=True)
        print(f"enrol over SQLite      {1000 * (time.perf_counter() - started) / ENROLLED:8.2f} ms each, of {ENROLLED}")
        print(f"search over SQLite     {measure(lambda: gallery.search('bench', 'm', vectors[0, 0], 10), 50)}")
        gallery.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--times", type=int, default=50)
    chosen = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}, {chosen.dimension}-d")
    probe = np.random.default_rng(2).normal(size=chosen.dimension).astype(np.float32)
    for size in chosen.sizes:
        index = filled(size, chosen.dimension)
        print(f"search {size:>9,} exact {measure(lambda: index.search(probe, 10), chosen.times)}")  # noqa: B023
    over_sqlite(chosen.dimension)


if __name__ == "__main__":
    main()
