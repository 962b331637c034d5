"""docs/operations.md as one story: each command block run by bash as written, on ports and in a home of its own."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest
import skimage.data
import yaml

from model import checkpoint
from service.config import Settings
from tests.converted import with_converted_networks
from tests.ports import free_port
from tests.ship.manifests import OVERLAYS, objects

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs/operations.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)$(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
BLOCKS = {name: re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) for name, text in SECTIONS.items()}
PORTS = ("6379", "8000", "8001", "9100", "9101", "9201", "9202", "9203", "9204", "9205")
LOGS = ("api.log", "worker.log", "searcher.log")

DEAD_LETTER = """
import os, time, redis
from service.config import Settings
from service.crypto.queue_cipher import load_queue_cipher
from service.queue import codec
from service.wire import AnalysisRequest, ImageHeader, Options
now = time.monotonic()
photo, size = open("photo.jpg", "rb").read(), ImageHeader("JPEG", 512, 512)
request = AnalysisRequest("poison", "request", photo, size, Options(), now, now + 30)
head, image, left = codec.pack_request(request, load_queue_cipher(Settings()))
fields = {"id": request.id, "h": head, "i": image, "t": left, "to": codec.PREFIX + "replies:gone", "deliveries": 3}
fields["model"] = os.environ["digest"]
redis.Redis.from_url(Settings().redis_url).xadd(codec.PREFIX + "dead_letters", fields)
"""
"""What three workers that died on an image leave behind (tests/queue lets them die)."""


@dataclass(frozen=True)
class Story:
    """What became of the whole document."""

    told: set[str]
    home: Path
    log: str


def script(ports: dict[str, str]) -> str:
    """All blocks in their order, with a line on standard output after each section."""
    lines = ["set -euo pipefail", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
    for name, blocks in BLOCKS.items():
        if name == "Dead letters":
            lines.append(f"digest=$digest {sys.executable} dead_letter.py")
        lines += [*blocks, f"printf '\\n== %s\\n' '{name}'"]
    text = "\n".join(lines)
    return re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: ports[found[0]], text)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("operator")
    cv2.imwrite(str(home / "photo.jpg"), skimage.data.astronaut()[:, :, ::-1])
    (home / "dead_letter.py").write_text(DEAD_LETTER)
    write_another_model(home / "new.safetensors")
    ports = {port: str(free_port()) for port in PORTS}
    env = {name: value for name, value in os.environ.items() if not name.startswith("FACE_")} | {
        "HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
        "REPOSITORY": str(ROOT), "OMP_NUM_THREADS": "1",
        "FACE_URL": f"http://127.0.0.1:{ports['8000']}",
    }  # fmt: skip
    with_converted_networks(home / "face")
    (home / "story.sh").write_text(script(ports))
    process = subprocess.Popen(
        ["bash", "-x", "story.sh"],
        cwd=home,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=1500)
    finally:
        stop_redis(home)
    logs = "".join(
        (home / name).read_text() for name in ("api.log", "worker.log", "searcher.log") if (home / name).exists()
    )
    return Story(set(re.findall(r"^== (.+)$", out, re.MULTILINE)), home, out[-3000:] + err[-4000:] + logs[-4000:])


def write_another_model(path: Path) -> None:
    """The shipped weights under another digest: templates are then another model's, faces are found all the same."""
    shipped = checkpoint.load()
    names = {name.partition(".")[0] for name in shipped.tensors}
    cut = {
        part: {n.partition(".")[2]: t for n, t in shipped.tensors.items() if n.startswith(f"{part}.")} for part in names
    }
    checkpoint.save(path, cut, shipped.config | {"preset": "next"})


def stop_redis(home: Path) -> None:
    """If the story ended early."""
    file = home / "face/redis.pid"
    if file.exists():
        subprocess.run(["kill", "-KILL", file.read_text().strip()], check=False, capture_output=True)
        time.sleep(0.1)


needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")


def test_every_runbook_has_commands_and_each_is_run():
    assert all(BLOCKS.values()), "a runbook without a command"
    assert set(re.findall(r"^```(.+)$", DOCUMENT, re.MULTILINE)) == {"sh"}, "a block in another language is not run"


def test_what_the_sentences_tell_kubectl_to_touch_is_there():
    """There is no cluster to run them in: their objects are those of the manifests, their verbs are kubectl's."""
    told = re.findall(r"`(kubectl [^`]+)`", DOCUMENT)
    words = [re.findall(r"\b(deploy|statefulset|scaledobject)[/ ]([a-z0-9-]+)", one) for one in told]
    named = {({"deploy": "deployment"}.get(kind, kind), name) for found in words for kind, name in found}
    named.remove(("statefulset", "searcher-of-4"))  # what the story makes
    there = {(item["kind"].lower(), item["metadata"]["name"]) for name in OVERLAYS for item in objects(name)}
    assert named == {("deployment", "api"), ("scaledobject", "worker")}
    assert named | {("redis", "redis"), ("namespace", "allinone-face")} <= there
    for one in told:
        verb = next(word for word in one.split()[1:] if word not in ("-n", "allinone-face"))
        assert subprocess.run(["kubectl", verb, "--help"], capture_output=True, check=False).returncode == 0, one


@needs_redis
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("section", SECTIONS)
def test_the_commands_of_the_runbook_work(story: Story, section: str):
    assert section in story.told, story.log


@needs_redis
@pytest.mark.timeout(1600)
def test_no_identity_was_lost_and_nothing_personal_was_logged(story: Story):
    assert '"moved":1' in (story.home / "moved.json").read_text()
    assert '"template":true' in (story.home / "ada.json").read_text()
    logs = "".join((story.home / name).read_text() for name in LOGS)
    assert "ada" not in re.findall(r"[a-z0-9]+", logs), "whole words: request ids are random and may spell it"
    for key in ("master.key", "queue.key"):
        assert (story.home / "face" / key).stat().st_mode & 0o077 == 0
    secret, renewed = (
        yaml.safe_load((story.home / name).read_text())["data"] for name in ("secret.yaml", "new-secret.yaml")
    )
    assert {name: renewed[name] == value for name, value in secret.items()} == {
        "master-key": False, "queue-key": True, "users.acl": True,
        "redis-password": True, "redis-api-password": True, "redis-worker-password": True,
    }  # fmt: skip
    for photos in (story.home / "face/redis").rglob("*"):
        assert not photos.is_file() or (story.home / "photo.jpg").read_bytes()[1000:1064] not in photos.read_bytes()
    assert (
        "poison" in (story.home / "letters.jsonl").read_text()
        or "request" in (story.home / "letters.jsonl").read_text()
    )
    assert '"code": null' in (story.home / "replayed.json").read_text()


def test_every_setting_that_is_named_is_one():
    names = set(re.findall(r"`?FACE_([A-Z_]+[A-Z])`?", DOCUMENT))
    assert {name.lower() for name in names} <= set(Settings.model_fields)
