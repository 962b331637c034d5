"""The Dockerfile: linted, and its steps run on this machine's root.

FACE_TEST_IMAGES=TARGET,… runs those targets' steps in a fresh Debian (debootstrap), as root, starts what they made and
posts it a photo: `api,worker-cpu` takes some 6 minutes and 3 GB, `api,worker-cuda` fetches some 3 GB more of CUDA and
runs it on the CPU. FACE_TEST_TORCH_INDEX names another package index for worker-cpu's PyTorch.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import httpx
import pytest
import skimage.data
import torch

from tests.ports import free_port
from tests.service.serving import until_ready
from tests.ship.build_images import in_context
from tests.ship.dockerfile import Stage, read

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
GIVEN = os.environ.get("FACE_TEST_IMAGES", "")
WORKERS = [target for target in GIVEN.split(",") if target.startswith("worker")]
ARGUMENTS, STAGES = read(ROOT / "Dockerfile")
LOCK = (ROOT / "docker/constraints.txt").read_text().splitlines()
TARGETS = ("api", "worker-cpu", "worker-cuda")
UNSHARE = ["unshare", "--mount", sys.executable]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]  # also to remove some gigabytes in the end


def test_hadolint_has_nothing_to_say():
    words = ["hadolint", "--config", "docker/hadolint.yaml", "Dockerfile"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_a_user_without_rights_a_health_check_and_a_volume(target: str):
    stage = STAGES[target]
    assert stage.last("USER").rest == "10001:10001"
    assert stage.last("HEALTHCHECK").words()[0] == "python3"
    assert stage.last("ENTRYPOINT").words() == ["allinone-face"]
    assert stage.last("CMD").words() == [target.partition("-")[0]]
    assert stage.last("VOLUME").rest == "/data"
    assert not [step for step in stage.steps if step.word == "RUN"], "nothing is installed as the last layers"


def test_only_the_workers_packages_hold_torch_and_each_comes_from_the_lock():
    for name, stage in STAGES.items():
        for step in stage.steps:
            for command in step.rest.split("&&"):
                if " install " in command and "pip" in command.split():
                    pinned = ("--require-hashes", "-c constraints.txt torch ", "--no-deps")
                    assert any(word in command for word in pinned), (name, command)
            if "requirements-worker" in step.rest and step.word == "RUN":
                assert name in ("worker-cpu-packages", "worker-cuda-packages")
    names = {line.partition("==")[0]: line.partition("==")[2] for line in LOCK}
    assert "torch" in names
    assert names["nvidia-cuda-runtime"].startswith("13.0."), "what the Dockerfile says of CUDA"
    assert STAGES["worker-cuda"].last("ENV").values()["NVIDIA_REQUIRE_CUDA"] == "cuda>=13.0"


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_target_copies_is_there(target: str):
    def above(name: str) -> list[Stage]:
        stage = STAGES[name]
        return [stage, *(above(stage.base) if stage.base in STAGES else [])]

    copied = [step.rest.split() for step in STAGES[target].steps if step.word == "COPY"]
    assert {folder for _, folder, _ in copied} == {"/opt/face", "/app"}
    for source, folder, _ in copied:
        stages = above(source.removeprefix("--from="))
        assert [step for stage in stages for step in stage.steps if step.word == "RUN" and f" {folder}" in step.rest]
        for stage in stages:
            for step in stage.steps:
                if step.word == "COPY":
                    assert all((ROOT / word).exists() and in_context(word) for word in step.rest.split()[:-1])


def test_the_builder_sees_the_project_and_nothing_else():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    seen = {name.split("/")[0] for name in tracked if name and in_context(name)}
    assert seen == {"LICENSE", "LICENSE-WEIGHTS", "README.md", "docker", "model", "pyproject.toml", "service"}
    assert {name for name in tracked if name.startswith("docker/") and in_context(name)} == {
        "docker/constraints.txt",
        *(f"docker/requirements-{name}.txt" for name in ("api", "build", "worker-cpu", "worker-cuda")),
    }
    assert not in_context(".git/config")
    assert not in_context("service/__pycache__/app.pyc")


def can_mount() -> bool:
    words = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return (
        shutil.which("unshare") is not None and subprocess.run(words, capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """The images, as build_images.py leaves them."""
    if not can_mount():
        pytest.skip("needs the right to mount")
    if GIVEN and shutil.which("debootstrap") is None:
        pytest.skip("needs debootstrap")
    out = Path(tempfile.mkdtemp(dir=None if GIVEN else "/dev/shm"))
    targets, base = (GIVEN, "debootstrap") if GIVEN else ("api", "host")
    words = [*UNSHARE, str(HERE / "build_images.py"), targets, str(out), "--base", base]
    index = os.environ.get("FACE_TEST_TORCH_INDEX")
    words += ["--build-arg", f"TORCH_INDEX={index}"] if index else []
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=3000)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        yield out
    finally:
        shutil.rmtree(out)


@contextmanager
def container(built: Path, target: str, **env: object) -> Iterator[subprocess.Popen[str]]:
    """A process as an engine would start it."""
    given = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
    process = subprocess.Popen(
        [*UNSHARE, str(HERE / "run_image.py"), str(built), target, *given], stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def inside(built: Path, target: str, *words: str, **env: object) -> subprocess.CompletedProcess[str]:
    given = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
    command = [*UNSHARE, str(HERE / "run_image.py"), str(built), target, *given, "--", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}/0"
    process.kill()
    process.wait()


def test_the_steps_run_and_the_image_is_small_and_without_torch(built: Path):
    images = json.loads((built / "images.json").read_text())
    sizes = [(size["what"], size["bytes"]) for size in images["api"]["sizes"]]
    assert [what.split(" ")[0] for what, _ in sizes] == ["RUN", "COPY", "COPY"]
    assert sizes[1][1] < 400e6, "packages"
    assert sizes[2][1] < 8e6, "what changes with every commit, without weights"
    said = inside(built, "api", "ls", "/opt/face/lib/python3.11/site-packages").stdout.split()
    assert "fastapi" in said
    assert "torch" not in said


def test_it_runs_without_rights_on_a_root_that_cannot_be_written(built: Path):
    code = "o=__import__('os');a=o.access;print(o.getuid(),a('/',2),a('/data',2),a('/tmp',2))"
    said = inside(built, "api", "python3", "-c", code).stdout.split()
    assert said == ["10001", "False", "True", "True"]
    refused = inside(built, "api", "touch", "/app/x")
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr


def test_the_api_starts_answers_its_health_check_and_stops(built: Path, redis_url: str):
    port = free_port()
    unhealthy = inside(built, "api", "health", FACE_PORT=port)
    assert unhealthy.returncode != 0
    with container(built, "api", FACE_REDIS_URL=redis_url, FACE_PORT=port) as api:
        until_ready(api, f"http://127.0.0.1:{port}", "/livez")
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 503, "there is no worker"
        assert httpx.post(f"http://127.0.0.1:{port}/v1/faces", content=b"x").status_code == 401, "it asks for a key"
        assert inside(built, "api", "health", FACE_PORT=port).returncode == 0
        api.send_signal(signal.SIGTERM)
        assert api.wait(40) in (0, 128 + signal.SIGTERM, -signal.SIGTERM)


@pytest.mark.parametrize("target", WORKERS)
def test_api_and_worker_answer_a_photo(built: Path, redis_url: str, target: str):
    port, metrics = free_port(), free_port()
    both = {"FACE_REDIS_URL": redis_url, "FACE_API_KEYS": "off"}
    with (
        container(built, "api", FACE_PORT=port, **both) as api,
        container(built, target, FACE_METRICS_PORT=metrics, FACE_DEVICE="cpu", **both) as worker,
    ):
        until_ready(worker, f"http://127.0.0.1:{metrics}")
        until_ready(api, f"http://127.0.0.1:{port}")
        assert inside(built, target, "health", FACE_METRICS_PORT=metrics).returncode == 0
        photo = cv2.imencode(".png", skimage.data.astronaut()[:, :, ::-1])[1].tobytes()
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/faces", content=photo, timeout=100)
        assert answer.status_code == 200
        assert len(answer.json()["faces"]) == 1
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


@pytest.mark.parametrize("target", WORKERS)
def test_a_worker_has_its_build_of_torch(built: Path, redis_url: str, target: str):
    code = "t=__import__('torch');print(t.__version__,t.version.cuda,t.cuda.is_available())"
    said = inside(built, target, "python3", "-c", code)
    version, cuda, available = said.stdout.split()
    [locked] = [line for line in LOCK if line.startswith("torch==")]
    assert version.partition("+")[0] == locked.removeprefix("torch==")
    assert cuda == {"worker-cpu": "None", "worker-cuda": "13.0"}[target]
    if target == "worker-cuda" and available == "False":
        port = free_port()
        done = inside(built, target, "allinone-face", "worker", FACE_REDIS_URL=redis_url, FACE_METRICS_PORT=port)
        assert done.returncode == 1
        assert "no CUDA device is there" in done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_where_there_is_no_gpu_the_cuda_worker_ends_with_a_line_and_is_never_ready(redis_url: str):
    image = STAGES["worker-cuda"].last("ENV").values()
    assert image["FACE_DEVICE"] == "cuda"
    port = free_port()
    env = os.environ | image | {
        "FACE_REDIS_URL": redis_url, "FACE_METRICS_PORT": str(port), "FACE_HOST": "127.0.0.1", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    words = [sys.executable, "-m", "service", *STAGES["worker-cuda"].last("CMD").words(), "--device", "cuda:0"]
    process = subprocess.Popen(words, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)
    statuses = set()
    while process.poll() is None:
        with suppress(httpx.TransportError):
            statuses.add(httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code)
        time.sleep(0.05)
    assert process.returncode == 1
    assert process.communicate()[1] == (
        "allinone-face: the model cannot be loaded: device cuda:0: no CUDA device is there\n"
    )
    assert 200 not in statuses
