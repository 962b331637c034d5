"""How long a search takes: python tests/bench/gallery.py [--sizes 100000 1000000] [--dimension 128].

Exact search of one probe among templates in memory, float16, on the processors this process may use; the median and
the 95th percentile of so many searches. Also enrolment and the whole Gallery.search over a SQLite file.

--recall 10000 100000: instead, what the vector sets of a Redis 8 find of what exact search finds, and how fast. The
templates are people in clusters (families that look alike: 20 around each of many centres, cosine about 0.5 to each
other), the probes other photos of enrolled people (cosine about 0.7) and strangers from the same clusters.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import redis

from service.gallery import NewMedium
from service.gallery.gallery import Gallery
from service.gallery.matching import SPARE
from service.gallery.search import SHARD, Index, Shard
from service.gallery.sqlite import SqliteStore
from service.gallery.store import Changes, CollectionRow, SubjectRow
from service.gallery.vector_sets import VectorSets
from service.vault import Vault, new_key
from tests.identity.people import redis_8, redis_server

ENROLLED = 2_000
FAMILY = 20
"""People of one cluster."""
PROBES = 500


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


def clustered(size: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors [size, dimension], 20 around each centre."""
    centres = np.repeat(unit(rng.normal(size=(-(-size // FAMILY), dimension))), FAMILY, axis=0)[:size]
    return unit(centres + unit(rng.normal(size=(size, dimension))))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows at length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def recall(size: int, dimension: int, url: str) -> None:
    """Vector sets against exact search, both as Gallery uses them: candidates of the one scored by the other."""
    rng = np.random.default_rng(3)
    vectors = clustered(size, dimension, rng)
    mates = unit(vectors[rng.integers(size, size=PROBES)] + unit(rng.normal(size=(PROBES, dimension))))
    strangers = clustered(size + PROBES, dimension, np.random.default_rng(3))[-PROBES:]
    handle, nearest = Named(b"bench", CollectionRow(b"bench", b"bench", b"", b"", 1)), VectorSets(Bench(vectors), url)  # type: ignore[arg-type]
    started = time.perf_counter()
    nearest.caught_up(handle)  # type: ignore[arg-type]
    built = time.perf_counter() - started
    memory = redis.Redis.from_url(url).memory_usage(b"face:vectors:bench", samples=0) or 0
    print(f"vector set {size:>9,}   built in {built:.1f} s, {memory / size:,.0f} bytes each")
    for name, probes in (("another photo", mates), ("a stranger", strangers)):
        first, ten = [], []
        for probe in probes:
            exact = np.argsort(-(vectors @ probe), kind="stable")[:10]
            candidates = np.array(nearest.serials(handle, probe, 10 + SPARE))  # type: ignore[arg-type]
            best = candidates[np.argsort(-(vectors[candidates] @ probe), kind="stable")][:10]
            first.append(best[0] == exact[0])
            ten.append(len(set(best) & set(exact)) / 10)
        figures = f"recall@1 {100 * np.mean(first):6.2f} %, @10 {100 * np.mean(ten):6.2f} % of {PROBES}"
        print(f"  {name:<14} {figures}, {measure(lambda: nearest.serials(handle, probes[0], 18), 50)}")  # noqa: B023
    nearest.close()


@dataclass(frozen=True)
class Named:
    """A collection's handle, as far as an index looks at it."""

    id: bytes
    row: CollectionRow


class Bench:
    """A sealed store of templates that are not sealed: the sealing is not what is measured."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors, self.store = vectors, self

    def changes(self, collection: bytes, since: int) -> Changes:
        """All of them."""
        rows = (SubjectRow(b"", number, 1, None, b"", b"") for number in range(len(self.vectors)))
        return Changes(1, True, rows, [])

    def template(self, handle: object, row: SubjectRow) -> np.ndarray:
        """One."""
        return self.vectors[row.serial]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--recall", type=int, nargs="+", metavar="SIZE")
    chosen = parser.parse_args()
    if chosen.recall:
        with redis_server(program=redis_8()) as server:
            for size in chosen.recall:
                server.client.flushall()
                recall(size, chosen.dimension, server.url)
        return
    print(f"{len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}, {chosen.dimension}-d")
    probe = np.random.default_rng(2).normal(size=chosen.dimension).astype(np.float32)
    for size in chosen.sizes:
        index = filled(size, chosen.dimension)
        print(f"search {size:>9,} exact {measure(lambda: index.search(probe, 10), chosen.times)}")  # noqa: B023
    over_sqlite(chosen.dimension)


if __name__ == "__main__":
    main()
