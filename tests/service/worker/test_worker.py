"""Worker and Analyzer behind the broker: faces on the wire, batches, poison, lateness, draining."""

import asyncio
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import httpx
import msgspec
import numpy as np
import pytest
import torch

from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.structures import Faces
from service import images
from service.config import Settings
from service.headers import read_header
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from service.schemas.faces import AnalysesResponse, AnalysisResponse
from service.wire import AnalysisFailure, AnalysisOutcome, AnalysisRequest, Options
from service.worker.loop import Worker, running
from service.worker.results import analysis_of, limits, load_analyzer
from tests.converted import with_converted_networks
from tests.service.serving import Served, serve, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint: Path) -> Analyzer:
    return Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="torch"))


@pytest.fixture(scope="module")
def served(analyzer: Analyzer) -> Iterator[Served]:
    settings = Settings(timeout=60)
    with serve(settings) as served, running(Worker(served.broker, analyzer, settings, served.metrics), 30):
        until(lambda: served.client.get("/readyz").status_code == 200)
        yield served


def job(name: str, image: bytes, options: Options, seconds: float = 60) -> AnalysisRequest:
    now = time.monotonic()
    header = read_header(image, len(image), 1 << 30)
    return AnalysisRequest(name, "r", image, header, options, now, now + seconds)


ANY = "min_score=0&min_size=1&max_faces=3"


def test_a_face_has_everything_about_it(served: Served, astronaut_png: bytes, analyzer: Analyzer) -> None:
    body = served.client.post(f"/v1/faces?{ANY}&descriptor=true", content=astronaut_png).json()
    assert (body["width"], body["height"], body["model"]) == (512, 512, analyzer.digest)
    assert 1 <= len(body["faces"]) <= 3
    for face in body["faces"]:
        assert set(face) - {"occluded"} == {
            "box", "score", "landmarks", "pose", "smile", "gender", "female", "age", "descriptor",
        }  # fmt: skip
        assert set(face["box"]) == {"x", "y", "width", "height"}
        assert set(face["pose"]) == {"roll", "pitch", "yaw"}
        assert len(face["landmarks"]) == 21
        assert set(face["landmarks"][0]) == {"name", "x", "y", "visibility"}
        assert face["gender"] == ("female" if face["female"] >= 0.5 else "male")
        assert all(0 <= face[name] <= 1 for name in ("score", "smile", "female"))
        assert math.isclose(np.linalg.norm(face["descriptor"]), 1, abs_tol=1e-4)
    areas = [face["box"]["width"] * face["box"]["height"] for face in body["faces"]]
    assert areas == sorted(areas, reverse=True)
    assert {"queue_wait", "decode", "batch_wait", "propose", "detect", "align", "attributes", "total"} <= set(
        body["timings_ms"]
    )
    plain = served.client.post(f"/v1/faces?{ANY}&landmarks=false", content=astronaut_png).json()["faces"][0]
    assert "descriptor" not in plain
    assert "landmarks" not in plain


def test_the_service_says_what_the_analyzer_says(served: Served, astronaut_png: bytes, analyzer: Analyzer) -> None:
    options = Options(min_score=0, min_size=1, max_faces=3, descriptor=True)
    header = read_header(astronaut_png, 1 << 30, 1 << 30)
    (faces,) = analyzer.analyze([images.decode(astronaut_png, header)], limits(options))
    body = served.client.post(f"/v1/faces?{ANY}&descriptor=true", content=astronaut_png).json()
    expected = json.loads(msgspec.json.encode(analysis_of(faces, 512, 512, options)))
    assert body["faces"] == expected["faces"]


def test_numbers_have_few_digits(served: Served, astronaut_png: bytes) -> None:
    text = served.client.post(f"/v1/faces?{ANY}", content=astronaut_png).text
    assert max(len(number.partition(".")[2]) for number in text.replace("}", ",").replace("]", ",").split(",")) < 10


def test_the_schema_holds_for_real_answers(served: Served, astronaut_png: bytes) -> None:
    one = served.client.post(f"/v1/faces?{ANY}", content=astronaut_png).json()
    assert AnalysisResponse.model_validate(one).model_dump(exclude_none=True) == one
    files = [("f", astronaut_png), ("f", b"bad")]
    several = served.client.post(f"/v1/faces?{ANY}", files=files).json()
    assert AnalysesResponse.model_validate(several).model_dump(exclude_none=True) == several


def test_an_image_broken_behind_its_header_harms_no_other(served: Served, astronaut_png: bytes) -> None:
    files = [("f", astronaut_png), ("f", astronaut_png[:5000]), ("f", astronaut_png)]
    answer = served.client.post(f"/v1/faces?{ANY}", files=files)
    first, second, third = answer.json()["images"]
    assert first == third
    assert len(first["faces"]) >= 1
    assert second["error"]["code"] == "image_broken"
    alone = served.client.post("/v1/faces", content=astronaut_png[:5000])
    assert (alone.status_code, alone.json()["code"]) == (422, "image_broken")


def test_metrics_after_work(served: Served, astronaut_png: bytes) -> None:
    served.client.post(f"/v1/faces?{ANY}", content=astronaut_png)
    lines = dict(line.rsplit(" ", 1) for line in served.client.get("/metrics").text.splitlines() if line[0] != "#")
    for stage in ("decode", "queue_wait", "batch_wait", "propose", "network", "post"):
        assert float(lines[f'face_stage_duration_seconds_count{{stage="{stage}"}}']) >= 1
    assert float(lines["face_faces_total"]) >= 1
    assert float(lines["face_images_total"]) >= 1
    assert float(lines["face_batch_size_count"]) >= 1


class Fragile(Analyzer):
    """The real one, with the faults a device can have: it fails on dark images and records its calls."""

    def analyze(self, images, limits=None, timings=None):  # type: ignore[override]
        self.calls = [*getattr(self, "calls", []), len(images)]
        if any(image.mean() < 5 for image in images):
            raise RuntimeError("device-side assert")
        return super().analyze(images, limits, timings)


async def collect(
    broker: LocalQueue, jobs: list[AnalysisRequest], analyzer: Analyzer, settings: Settings
) -> list[AnalysisOutcome]:
    """All jobs are queued before the worker starts, so that they meet in batches."""
    await broker.start()
    futures = await broker.submit(jobs)
    with running(Worker(broker, analyzer, settings, Metrics()), 60):
        return list(await asyncio.wait_for(asyncio.gather(*futures), 60))


def png(value: int) -> bytes:
    return bytes(cv2.imencode(".png", np.full((64, 64, 3), value, np.uint8))[1])


def test_one_poisonous_image_in_a_batch_fails_alone(tiny_checkpoint: Path) -> None:
    fragile = Fragile(AnalyzerConfig(weights=tiny_checkpoint, engine="torch"))
    jobs = [job(str(i), png(0 if i == 5 else 100), Options()) for i in range(8)]
    settings = Settings(batch_images=8, batch_linger=0.1)
    results = asyncio.run(collect(LocalQueue(100, 1 << 30), jobs, fragile, settings))
    codes = [result.code if isinstance(result, AnalysisFailure) else None for result in results]
    assert codes == ["analysis_failed" if i == 5 else None for i in range(8)]
    assert max(fragile.calls) > 1, "they met in a batch"
    assert 1 in fragile.calls


def test_late_and_cancelled_work_is_not_done(tiny_checkpoint: Path) -> None:
    fragile = Fragile(AnalyzerConfig(weights=tiny_checkpoint, engine="torch"))

    async def story() -> None:
        broker = LocalQueue(100, 1 << 30)
        await broker.start()
        late, _ = await broker.submit([job("late", png(100), Options(), seconds=-1), job("gone", png(100), Options())])
        held, loop = broker.claim, asyncio.get_running_loop()  # the worker holds it when its caller leaves

        def claim(most: int, wait: float) -> list[AnalysisRequest]:
            jobs = held(most, wait)
            if any(claimed.id == "gone" for claimed in jobs):
                asyncio.run_coroutine_threadsafe(broker.cancel(["gone"]), loop).result(10)
            return jobs

        broker.claim = claim  # type: ignore[method-assign]
        with running(Worker(broker, fragile, Settings(), Metrics()), 30):
            assert (await asyncio.wait_for(late, 20)).code == "deadline_exceeded"
            while (await broker.state()).depth:
                await asyncio.sleep(0.01)

    asyncio.run(story())
    assert fragile.calls == [1], "warming up was all"


def test_told_to_stop_it_finishes_what_it_holds(analyzer: Analyzer) -> None:
    async def story() -> None:
        broker, settings = LocalQueue(100, 1 << 30), Settings()
        await broker.start()
        futures = await broker.submit([job(str(i), png(100), Options()) for i in range(12)])
        worker = Worker(broker, analyzer, settings, Metrics())
        with running(worker, 60):
            await asyncio.wait_for(asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED), 30)
        assert await broker.workers() == []
        waiting = (await broker.state()).depth  # and nothing that is held: what was claimed is answered
        await asyncio.sleep(0.05)
        assert sum(future.done() for future in futures) == len(futures) - waiting
        assert not worker.failed

    asyncio.run(story())


def test_a_dead_device_thread_is_noticed(analyzer: Analyzer) -> None:
    class Dying(LocalQueue):
        def cancelled(self, job_ids):
            raise SystemExit("the device thread dies")

    async def story() -> Worker:
        broker = Dying(100, 1 << 30)
        await broker.start()
        await broker.submit([job("a", png(100), Options())])
        worker = Worker(broker, analyzer, Settings(), Metrics())
        ended = threading.Event()
        seen = []
        hook, threading.excepthook = threading.excepthook, seen.append
        try:
            with running(worker, 10, ended.set):
                assert await asyncio.to_thread(ended.wait, 10)
                assert worker.failed
        finally:
            threading.excepthook = hook
        return worker

    asyncio.run(story())


def test_what_a_face_is_on_the_wire() -> None:
    values = {name: np.random.default_rng(0).random((1, *shape), np.float32) for name, shape in {
        "boxes": (4,), "landmarks": (21, 2), "visibility": (21,), "pose": (3,), "descriptor": (512,),
    }.items()}  # fmt: skip
    one = {
        name: np.array([value], np.float32)
        for name, value in {"scores": 1.0000001, "smile": 0.5, "age": 33.333}.items()
    }
    faces = Faces(**values, **one, female=np.array([0.5]))
    (face,) = analysis_of(faces, 10, 20, Options()).faces
    assert (face.score, face.gender, face.age) == (1, "female", 33.33)
    broken = Faces(**values, **one, female=np.array([np.nan]))
    with pytest.raises(ValueError, match="female"):
        analysis_of(broken, 10, 20, Options())


def test_a_missing_cuda_device_is_said_clearly(tiny_checkpoint: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="no CUDA device"):
        load_analyzer(Settings(weights=tiny_checkpoint, device="cuda:0"))


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_the_thread_that_loads_the_model_keeps_no_helpers(tiny_checkpoint: Path, tmp_path: Path, engine: str) -> None:
    """Of OpenMP's, which stay for life and make waits slow. OpenVINO has none: its threads are TBB's, which sleep."""
    code = """
import os
from pathlib import Path
from service.worker.results import load_analyzer, load_identity
from service.config import Settings
threads = lambda: len(os.listdir("/proc/self/task"))
before = threads()
load_identity(load_analyzer(Settings()), Settings())
maps = Path("/proc/self/maps").read_text()
print(threads() - before, any(name in maps for name in ("libgomp", "libiomp", "libomp")))
"""
    data = with_converted_networks(tmp_path)
    settings = {"FACE_ENGINE": engine, "FACE_WEIGHTS": str(tiny_checkpoint), "FACE_DATA_DIR": str(data)}
    words, env = [sys.executable, "-c", code], {**os.environ, **settings, "OMP_NUM_THREADS": "2"}
    more, openmp = subprocess.run(words, env=env, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    if engine == "torch":
        assert more == "0"
    else:
        assert (openmp, int(more) < (os.cpu_count() or 1)) == ("False", True)


def test_many_clients_share_batches(served: Served, astronaut_png: bytes) -> None:
    answers = []

    def ask() -> None:
        answers.append(httpx.post(f"{served.url}/v1/faces?{ANY}", content=astronaut_png, timeout=60).json()["faces"])

    crowd = [threading.Thread(target=ask) for _ in range(12)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(60)
    assert len(answers) == 12
    for faces in answers[1:]:
        assert len(faces) == len(answers[0])
        for face, first in zip(faces, answers[0], strict=True):
            assert abs(face["box"]["x"] - first["box"]["x"]) < 0.1
    sizes = [line for line in served.client.get("/metrics").text.splitlines() if line.startswith("face_batch_size_")]
    count, total = (
        float(next(line for line in sizes if line.startswith(f"face_batch_size_{what}")).rsplit(" ", 1)[1])
        for what in ("count", "sum")
    )
    assert total > count, "some calls of the model held several images"
