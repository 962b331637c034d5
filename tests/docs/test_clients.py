"""The clients of docs/clients.md: generated from the service's description, compiled strictly, and run as written."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from tests.foreign import CACHE, foreign_environment, foreign_packages
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

DOCUMENT = (Path(__file__).resolve().parents[2] / "docs" / "clients.md").read_text()
EXPECTED = {"age": 30.0, "subject": "ada"}
NPM = ("openapi-fetch@0.17.0", "openapi-typescript@7.13.0", "typescript@5.9.3", "@types/node@20.19.0")
STRICT = ["--strict", "--noUncheckedIndexedAccess", "--target", "es2022", "--module", "nodenext"]
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", api_keys="on")


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with people_served(settings) as running:
        yield running


@pytest.fixture
def folder(settings: Settings, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photos of a person and the service's description; the examples' variables are set."""
    made = tmp_path / "example"
    made.mkdir()
    (made / "ada.jpg").write_bytes(photo(1))
    (made / "who.jpg").write_bytes(photo(1, take=2))
    (made / "openapi.json").write_bytes(served.client.get("/openapi.json").content)
    with open_keys(settings) as keys:
        monkeypatch.setenv("FACE_KEY", keys.create("example", ["admin"])[1])
    monkeypatch.setenv("FACE_URL", served.url)
    return made


def example(language: str) -> str:
    """Return the example of a language."""
    block = re.search(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert block
    return block[1]


def run(folder: Path, *words: str | Path) -> str:
    """Run a program there; return what it writes, or fail with what it complains of."""
    done = subprocess.run(words, check=False, cwd=folder, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(600)
def test_a_generated_typescript_client(folder: Path):
    modules = foreign_packages(*NPM) / "node_modules"
    (folder / "node_modules").symlink_to(modules)
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "example.ts").write_text(example("ts"))
    run(folder, modules / ".bin" / "openapi-typescript", "openapi.json", "--output", "api.d.ts")
    run(folder, modules / ".bin" / "tsc", *STRICT, "example.ts")
    assert json.loads(run(folder, "node", "example.js")) == EXPECTED


@pytest.mark.timeout(600)
def test_a_generated_python_client(folder: Path):
    programs = foreign_environment("openapi-python-client==0.29.1")
    generate = [programs / "openapi-python-client", "generate", "--path", "openapi.json"]
    told = run(folder, *generate, "--meta", "none", "--output-path", "face_api")
    left_out = set(re.findall(r"Unsupported content type (\S+)", told))
    assert left_out <= {"image/*", "video/*", "application/zip", "application/jsonl"}
    assert "Unable to process" not in told
    (folder / "example.py").write_text(example("python"))
    assert json.loads(run(folder, programs / "python", "example.py")) == EXPECTED


@pytest.mark.timeout(600)
def test_the_go_example(folder: Path, monkeypatch: pytest.MonkeyPatch):
    program = shutil.which("go")
    if program is None:
        pytest.skip("there is no Go")
    monkeypatch.setenv("GOCACHE", str(CACHE / "go"))
    (folder / "main.go").write_text(example("go"))
    assert json.loads(run(folder, program, "run", "main.go")) == EXPECTED
