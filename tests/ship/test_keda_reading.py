"""What KEDA would read of the queue's stream: why its length is the right figure, and the two others are not."""

import asyncio
import hashlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from service.queue import codec
from service.queue.consumer import RedisConsumer
from service.queue.producer import RedisProducer
from service.wire import Analysis, AnalysisRequest, AnalysisResult, ImageHeader, Options

MODEL = hashlib.sha256(b"any").hexdigest()
STREAM = f"{codec.PREFIX}requests:{MODEL}"

pytestmark = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own, on a socket."""
    path = tmp_path / "redis.sock"
    words = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    yield f"unix://{path}"
    process.kill()
    process.wait()


def readings(url: str) -> dict[str, int]:
    """KEDA's three: streamLength, pendingEntriesCount, lagCount."""
    with redis.Redis.from_url(url) as client:
        [group] = client.xinfo_groups(STREAM)
        return {
            "length": client.xlen(STREAM),
            "pending": client.xpending(STREAM, group["name"])["pending"],
            "lag": group["lag"],
        }


def test_only_the_length_counts_what_waits_and_what_is_held(url: str):
    async def told() -> list[dict[str, int]]:
        api = RedisProducer(url, 64, 1 << 20)
        worker = await asyncio.to_thread(RedisConsumer, url, MODEL)
        await api.start()
        now = time.monotonic()
        header = ImageHeader("PNG", 1, 1)
        jobs = [AnalysisRequest(str(n), "r", b"photo", header, Options(), now, now + 60) for n in range(4)]
        found = [readings(url)]
        futures = await api.submit(jobs)
        found.append(readings(url))
        held = await asyncio.to_thread(worker.claim, 16, 1.0)
        while len(held) < 4:
            held += await asyncio.to_thread(worker.claim, 16, 1.0)
        found.append(readings(url))
        await asyncio.to_thread(worker.finish, [AnalysisResult(job.id, MODEL, Analysis(1, 1, [])) for job in held])
        await asyncio.gather(*futures)
        found.append(readings(url))
        await api.close()
        await asyncio.to_thread(worker.close)
        return found

    empty, waiting, held, answered = asyncio.run(told())
    assert empty == {"length": 0, "pending": 0, "lag": 0}
    assert waiting == {"length": 4, "pending": 0, "lag": 4}, "by what is pending no first worker would ever start"
    assert held == {"length": 4, "pending": 4, "lag": 0}, "by the lag a worker at work would be taken away"
    assert answered == {"length": 0, "pending": 0, "lag": 0}, "nothing to do: scale to zero"
