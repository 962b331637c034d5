"""What is installed from the wheel."""

import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return zipfile.ZipFile(file)


@pytest.fixture(scope="module")
def files(wheel: zipfile.ZipFile) -> set[str]:
    """Names of the files in the wheel."""
    return set(wheel.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    """What the wheel says about itself."""
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return message_from_bytes(wheel.read(name))


def test_it_holds_the_page_the_weights_and_the_recipes(files: set[str]):
    for pattern in (
        "service/static/*",
        "model/weights/*.safetensors",
        "model/training/recipes/*.json",
        "model/**/*.py",
    ):
        wanted = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.is_file()}
        assert wanted
        assert wanted <= files


def test_it_holds_nothing_else(files: set[str]):
    assert {name.split("/")[0] for name in files} == {"model", "service", "allinone_face-0.1.0.dist-info"}
    assert not [name for name in files if "__pycache__" in name]
    assert {name.rpartition("/")[2] for name in files if "/licenses/" in name} == {"LICENSE", "LICENSE-WEIGHTS"}


def test_its_licence_names_the_weights(wheel: zipfile.ZipFile, metadata: Message):
    assert metadata["License-Expression"] == "Apache-2.0 AND LicenseRef-allinone-face-weights"
    [text] = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/LICENSE-WEIGHTS")]
    assert "LicenseRef-allinone-face-weights" in text
    assert "non-commercial" in text


def test_types_are_declared(files: set[str]):
    assert {"service/py.typed", "model/py.typed"} <= files


def requirements(metadata: Message, extra: str = "") -> set[str]:
    """Return the names of the packages that an installation brings, with one extra or none."""
    found = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    here = {"sys_platform": "linux", "extra": extra}
    return {one.name for one in found if one.marker is None or one.marker.evaluate(here)}


def test_the_extras_build_on_each_other(metadata: Message):
    client, server, model = (requirements(metadata, extra) for extra in ("", "server", "model"))
    assert client == {"httpx", "pydantic", "pydantic-settings", "tqdm", "typing-extensions"}
    assert client < server < model
    assert model - server == {"openvino", "safetensors", "torch"}
    assert {"opencv-contrib-python-headless", "fastapi", "pillow-heif", "uvloop"} <= server


def test_windows_gets_no_uvloop(metadata: Message):
    [uvloop] = [Requirement(line) for line in metadata.get_all("Requires-Dist", []) if "uvloop" in line][:1]
    assert uvloop.marker is not None
    assert not uvloop.marker.evaluate({"sys_platform": "win32", "extra": "server"})


def test_the_images_install_what_the_extras_name(metadata: Message):
    for extra in ("server", "model"):
        script = [sys.executable, "docker/requirements.py", extra]
        lines = subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
        assert {Requirement(line).name for line in lines} == requirements(metadata, extra)


def test_the_api_runs_without_torch():
    code = """
import sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None
import service.http.app, service.commands.api, service.__main__
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
