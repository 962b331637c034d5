"""The client's calls about photos: one or many, options, jobs, its timeout, an HTTP client of the caller's own."""

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.client import AsyncClient, Client, FaceError
from service.config import Settings
from tests.service.serving import answering, nothing_found, serve


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("data"))
    with serve(settings) as served, answering(served.broker, nothing_found):
        yield served.url


def test_one_photo_or_many(url: str, tiny_png: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(tiny_png)
    array = np.zeros((6, 8, 3), np.uint8)
    with Client(url) as faces:
        assert faces.analyze(file).faces == []
        assert faces.analyze(array, max_faces=1, landmarks=False).width == 8
        for photos in ([file], [file, tiny_png, array], (tiny_png, b"\xff\xd8\xff damaged")):
            assert len(faces.analyze(photos).images) == len(photos)
        assert len(faces.analyze_many([file]).images) == 1
        with file.open("rb") as opened:
            assert faces.analyze(opened).height == 6


def test_the_same_awaited(url: str, tiny_png: bytes) -> None:
    async def work() -> None:
        async with AsyncClient(url) as faces:
            assert (await faces.analyze(tiny_png)).faces == []
            assert len((await faces.analyze([tiny_png] * 2)).images) == 2
            job = await faces.submit_job([tiny_png] * 3)
            done = await faces.wait_for_job(job.id, timeout=30)
            assert [item.error for item in done.results] == [None] * 3

    asyncio.run(work())


def test_a_wrong_option_does_not_reach_the_server(url: str, tiny_png: bytes) -> None:
    with Client(url) as faces:
        with pytest.raises(TypeError, match="max_face"):
            faces.analyze(tiny_png, max_face=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="not text"):
            faces.analyze("a.png")  # type: ignore[call-overload]
        with pytest.raises(FaceError) as refusal:
            faces.analyze(tiny_png, max_faces=0)
        assert (refusal.value.status, refusal.value.code) == (422, "invalid_request")


def test_a_job_with_names_is_waited_for_and_deleted(url: str, tiny_png: bytes) -> None:
    with Client(url) as faces:
        job = faces.submit_job({"a.png": tiny_png, "b.png": b"\xff\xd8\xff damaged"}, idempotency_key="once")
        done = faces.wait_for_job(job.id, timeout=30)
        assert (done.total, done.failed) == (2, 1)
        assert [(item.name, item.error is None) for item in done.results] == [("a.png", True), ("b.png", False)]
        faces.delete_job(job.id)
        with pytest.raises(FaceError) as refusal:
            faces.job(job.id)
        assert refusal.value.status == 404


def test_waiting_for_a_job_ends(tmp_path: Path, tiny_png: bytes) -> None:
    with serve(Settings(data_dir=tmp_path)) as served, Client(served.url) as faces:
        job = faces.submit_job(tiny_png)
        with pytest.raises(TimeoutError, match="0 of 1 photos"):
            faces.wait_for_job(job.id, timeout=0.1)
        faces.delete_job(job.id)


def test_the_timeout_is_the_longest_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with Client(address, timeout=0.3) as faces, pytest.raises(FaceError) as refusal:
            faces.keys()
    assert (refusal.value.status, refusal.value.code) == (0, "timeout")
    assert address in refusal.value.detail
    assert time.monotonic() - started < 5


def test_an_http_client_of_the_callers_own(url: str, tiny_png: bytes) -> None:
    seen = []
    own = httpx.Client(event_hooks={"request": [lambda request: seen.append(request.url.path)]})
    with Client(url, http=own) as faces:
        faces.analyze(tiny_png)
    assert seen == ["/v1/faces"]
    assert not own.is_closed, "it is the caller's to close"
    own.close()


def test_a_path_before_the_api(tiny_png: bytes) -> None:
    """A server behind a proxy, under a path."""
    paths = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return httpx.Response(200, json={"keys": []})

    with Client("https://example.org/faces/", http=httpx.Client(transport=httpx.MockTransport(answer))) as faces:
        faces.keys()
    assert paths == ["/faces/v1/keys"]
