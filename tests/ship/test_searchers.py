"""Searchers as a StatefulSet starts them: its own command, its settings, a real Redis, a gallery, an API's search."""

import base64
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.crypto.vault import Vault
from service.gallery import NewMedium
from service.gallery.gallery import Gallery
from service.gallery.searchers import ScatteredSearch
from service.gallery.stores.redis import RedisStore
from tests.ports import free_port
from tests.service.gallery.people import DIMENSION, MASTER, MODEL
from tests.service.queue.processes import RedisServer, redis_server
from tests.service.serving import until_ready

ROOT = Path(__file__).resolve().parents[2]
[STATEFUL_SET] = [
    item
    for item in yaml.safe_load_all((ROOT / "deploy/searchers/searcher.yaml").read_text())
    if item["kind"] == "StatefulSet"
]
COMMAND = STATEFUL_SET["spec"]["template"]["spec"]["containers"][0]["command"]
PEOPLE = 60

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


@pytest.fixture(scope="module")
def gallery(server: RedisServer) -> Iterator[Gallery]:
    """Two collections of 60 people in all."""
    found, rng = Gallery(RedisStore(server.url), Vault([MASTER])), np.random.default_rng(1)
    for number in range(PEOPLE):
        name = "even" if number % 2 == 0 else "odd"
        found.put_collection(name, MODEL, DIMENSION)
        vector = rng.normal(size=(1, DIMENSION)).astype(np.float32)
        found.add_media(name, f"p{number}", MODEL, [NewMedium("m", vector, np.ones(1, np.float32))], create=True)
    yield found
    found.close()


@contextmanager
def pod(url: str, home: Path, index: int, parts: int, **more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The container of one pod; its process, and the URL of its probes."""
    port = free_port()
    env = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "POD_INDEX": str(index), "PARTS": str(parts),
        "FACE_REDIS_URL": url, "FACE_METRICS_PORT": str(port), "FACE_DATA_DIR": str(home),
        "FACE_MASTER_KEY": base64.b64encode(MASTER).decode(), **more,
    }  # fmt: skip
    process = subprocess.Popen(COMMAND, env=env, stderr=subprocess.PIPE, text=True)
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


def templates(url: str) -> float:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    [value] = [s.value for family in families for s in family.samples if s.name == "face_searcher_templates"]
    return value


def test_pods_hold_the_parts_in_turn_and_any_one_may_go(server: RedisServer, gallery: Gallery, tmp_path: Path):
    probe = np.random.default_rng(2).normal(size=DIMENSION).astype(np.float32)
    wanted = {name: gallery.search(name, MODEL, probe, 40) for name in ("even", "odd")}
    scattered = ScatteredSearch(gallery, server.url, 2)
    with (
        pod(server.url, tmp_path, 0, 2) as zero, pod(server.url, tmp_path, 1, 2) as one,
        pod(server.url, tmp_path, 2, 2) as two, pod(server.url, tmp_path, 3, 2) as three,
    ):  # fmt: skip
        pods = (zero, one, two, three)
        for each in pods:
            until_ready(*each)
        held = [templates(url) for _, url in pods]
        assert held[:2] == held[2:]
        assert sum(held[:2]) == PEOPLE
        assert httpx.get(f"{zero[1]}/livez").status_code == 200
        assert httpx.get(f"{zero[1]}/elsewhere").status_code == 404
        assert {name: scattered.search(name, MODEL, probe, 40) for name in wanted} == wanted
        for process, _ in pods[:2]:  # the set is updated, and a node is drained
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        assert {name: scattered.search(name, MODEL, probe, 40) for name in wanted} == wanted


def test_a_larger_set_loads_beside_a_smaller_one(server: RedisServer, gallery: Gallery, tmp_path: Path):
    probe = np.random.default_rng(3).normal(size=DIMENSION).astype(np.float32)
    wanted = gallery.search("even", MODEL, probe, 30)
    with (
        pod(server.url, tmp_path, 0, 1) as old,
        pod(server.url, tmp_path, 0, 2) as first, pod(server.url, tmp_path, 1, 2) as second,
    ):  # fmt: skip
        for each in (old, first, second):
            until_ready(*each)
        for parts in (1, 2):
            assert ScatteredSearch(gallery, server.url, parts).search("even", MODEL, probe, 30) == wanted


@pytest.mark.parametrize(
    ("parts", "more", "status", "said"),
    [
        (2, {"FACE_REDIS_URL": "redis://127.0.0.1:1/0"}, 1, "cannot be"),
        (2, {"FACE_MASTER_KEY": base64.b64encode(b"o" * 32).decode()}, 1, "master key"),
        (2, {"FACE_MASTER_KEY": "short"}, 1, "master key"),
        (0, {}, 2, "division by"),
    ],
)  # fmt: skip
def test_what_it_cannot_do_ends_it_with_a_line(
    server: RedisServer, gallery: Gallery, tmp_path: Path, parts: int, more: dict, status: int, said: str
):
    with pod(server.url, tmp_path, 0, parts, **more) as (process, _):
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == status
        assert said in complaint
        assert "Traceback" not in complaint
