"""What is installed from the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names of the files in the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_it_holds_the_page_the_weights_and_the_recipes(files: set[str]):
    for pattern in ("service/static/*", "model/weights/*.safetensors", "model/recipes/*.json", "model/**/*.py"):
        wanted = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.is_file()}
        assert wanted
        assert wanted <= files


def test_it_holds_nothing_else(files: set[str]):
    assert {name.split("/")[0] for name in files} == {"model", "service", "allinone_face-0.1.0.dist-info"}
    assert not [name for name in files if "__pycache__" in name]
    assert any(name.endswith("licenses/LICENSE") for name in files)


def test_the_api_runs_without_torch():
    code = """
import sys
for name in ("torch", "safetensors"):
    sys.modules[name] = None
import service.app, service.__main__
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
