"""Exports and imports that come at once, or whose callers leave, hold nobody up."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.gallery import Policy
from service.gallery.resources import open_gallery
from service.http.app import create_app
from service.http.transfers import AT_ONCE
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from tests.service.gallery.people import DIMENSION, MODEL, Faces
from tests.service.http.raw import connect, head, whole_answer
from tests.service.serving import serve

WORDS = "correct horse"
PATH = "/v1/collections/staff"


def fill(settings: Settings) -> None:
    """Make a collection whose export is larger than any buffer."""
    gallery = open_gallery(settings)
    gallery.put_collection("staff", MODEL, DIMENSION, Policy(keep_photos=True))
    media = [Faces().medium("ada", f"{number}", photo=bytes(500_000)) for number in range(4)]
    gallery.add_media("staff", "ada", MODEL, media, create=True)
    gallery.close()


def test_more_of_them_than_threads_wait_for_each_other(tmp_path: Path) -> None:
    """All else shares two threads here: a pipe's two ends in them would soon wait for a third."""
    fill(settings := Settings(data_dir=tmp_path))
    app = create_app(settings, LocalQueue(4, 1000), Metrics())

    async def story() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            exports = [client.post(f"{PATH}/export", json={"passphrase": WORDS}) for _ in range(3)]
            files = [answer.content for answer in await asyncio.wait_for(asyncio.gather(*exports), 20)]
            assert min(map(len, files)) > 2_000_000
            imports = [
                client.post(f"/v1/collections/copy{number}/import", content=file, headers={"Face-Passphrase": WORDS})
                for number, file in enumerate(files)
            ]
            answers = await asyncio.wait_for(asyncio.gather(*imports), 20)
        assert {answer.status_code for answer in answers} == {201}

    asyncio.run(story())


@pytest.mark.slow
def test_who_leaves_an_export_or_stops_an_import_makes_room(tmp_path: Path) -> None:
    fill(settings := Settings(data_dir=tmp_path, upload_timeout=0.3))
    body = json.dumps({"passphrase": WORDS}).encode()
    export = head(f"POST {PATH}/export", Content_Type="application/json", Content_Length=len(body)) + body
    with serve(settings) as served:
        for _ in range(AT_ONCE + 1):
            with connect(served.url) as connection:
                connection.sendall(export)
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        file = served.client.post(f"{PATH}/export", json={"passphrase": WORDS}).content
        for _ in range(AT_ONCE + 1):
            with connect(served.url) as connection:
                length = {"Face_Passphrase": WORDS, "Content_Length": len(file)}
                connection.sendall(head("POST /v1/collections/copy/import", **length) + file[:100_000])
                assert b"upload_timeout" in whole_answer(connection)
        made = served.client.post("/v1/collections/copy/import", content=file, headers={"Face-Passphrase": WORDS})
        assert made.status_code == 201
