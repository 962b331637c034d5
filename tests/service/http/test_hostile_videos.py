"""Videos that would take a server's memory or time, sent to one with its own limits and a real worker."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model.runtime.pipeline import AnalyzerConfig
from service.config import Settings
from service.worker.loop import Worker, running
from tests.service.hostile_videos import announced_as, huge_frame, many_frames, many_pictures
from tests.service.queue.device import Device
from tests.service.serving import Served, is_problem, serve, until
from tests.service.videos import encode, ramp

pytestmark = pytest.mark.slow

MILLION = 1_000_000
ENROL = "/v1/collections/staff/subjects/x/media?create=true"


@pytest.fixture(scope="module")
def served(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("hostile"))
    with serve(settings) as running_server:
        device = Device(AnalyzerConfig(weights=weights, engine="torch"))
        with running(Worker(running_server.broker, device, settings, running_server.metrics), 30):
            until(lambda: running_server.client.get("/readyz").status_code == 200)
            running_server.client.put("/v1/collections/staff").raise_for_status()
            yield running_server


def refused_by_the_job(served: Served, answer: httpx.Response) -> dict:
    """Return the problem with which the job of a long video ends."""
    assert answer.status_code == 202, answer.text
    where = answer.headers["Location"]
    until(lambda: served.client.get(where).json()["status"] == "done", 120)
    job = served.client.get(where).json()
    assert job["failed"] == 1
    return job["results"][0]["error"]


def test_frames_of_8k(served: Served):
    for video in (huge_frame(), announced_as(huge_frame(), 96, 64)):
        assert len(video) < 200_000
        problem = is_problem(served.client.post("/v1/videos", content=video), 413, "image_too_large")
        assert "7680 × 4320" in problem["detail"]
        is_problem(served.client.post(ENROL, content=video), 413, "image_too_large")


def test_a_million_frames(served: Served):
    video = many_frames(MILLION)
    assert len(video) < 20_000_000
    problem = is_problem(served.client.post("/v1/videos", content=video), 413, "video_too_long")
    assert "1,000,000" in problem["detail"]
    is_problem(served.client.post(ENROL, content=video), 413, "video_too_long")


def test_a_million_pictures(served: Served):
    video = many_pictures(MILLION)
    assert refused_by_the_job(served, served.client.post("/v1/videos", content=video))["code"] == "video_too_long"
    is_problem(served.client.post(ENROL, content=video), 413, "video_too_long")


def test_a_video_without_an_end(served: Served):
    video = many_frames(30_000, "webm", endless=True)
    is_problem(served.client.post("/v1/videos", content=video), 413, "video_too_long")
    is_problem(served.client.post(ENROL, content=video), 413, "video_too_long")


def test_the_service_goes_on(served: Served):
    is_problem(served.client.post("/v1/videos", content=encode(ramp(5))), 422, "no_face")


SAMPLED = """
import json, re, sys
from service.headers import read_video_header
from service.videos import sample_frames
from service.wire import VideoLimits
data = open(sys.argv[1], "rb").read()
frames = sample_frames(data, read_video_header(data, 1 << 30), VideoLimits(32, 600, 20_000, 9_000_000, 60))
peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([len(frames), int(peak[1])]))
"""


def test_memory_stays_flat_however_many_frames_a_video_has(tmp_path: Path):
    """Frames that are decoded hold 1.4 MB each: 1,500 of them would be 2 GB."""
    peaks = []
    for count in (100, 1500):
        file = tmp_path / f"{count}.mp4"
        file.write_bytes(encode(ramp(10, 480, 960) * (count // 10), rate=25))
        done = subprocess.run([sys.executable, "-c", SAMPLED, file], capture_output=True, check=True)
        frames, peak_kilobytes = json.loads(done.stdout)
        assert frames == 32
        peaks.append(peak_kilobytes)
    assert peaks[1] < peaks[0] + 60_000, peaks
