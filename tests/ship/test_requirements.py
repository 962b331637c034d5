"""docker/requirements-*.txt: what images and tests install, each file by its hash; the bill of materials of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
LOCKED = {"api": ["server"], "worker-cpu": ["model", "video"], "worker-cuda": ["model", "video"], "ci": ["test"]}
WITHOUT_TORCH = {"worker-cpu", "ci"}
HASH = "--hash=sha256:"


def locked(name: str) -> dict[str, tuple[str, int]]:
    """For each package its version and how many hashes it has."""
    text = (ROOT / f"docker/requirements-{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert all(word.startswith(HASH) for _, *hashes in lines for word in hashes if not word.startswith(";"))
    packages = [(*line[0].split("=="), len(line) - 1) for line in lines]
    return {canonicalize_name(package): (version, hashes) for package, version, hashes in packages}


def constraints() -> dict[str, str]:
    lines = (ROOT / "docker/constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("name", [*LOCKED, "build", "lint"])
def test_every_package_has_hashes_and_the_version_of_the_constraints(name: str):
    versions = constraints()
    for package, (version, hashes) in locked(name).items():
        assert hashes > 0, package
        assert versions.get(package) == version, f"{package}: run docker/lock"


@pytest.mark.parametrize("name", LOCKED)
def test_all_that_the_image_needs_is_locked(name: str):
    script = [sys.executable, "docker/requirements.py", *LOCKED[name]]
    lines = subprocess.run(script, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    needed = {canonicalize_name(Requirement(line).name) for line in lines}
    assert needed - set(locked(name)) == ({"torch"} if name in WITHOUT_TORCH else set()), "run docker/lock"


def test_the_bill_of_materials_is_valid_cyclonedx_and_names_every_package_with_its_hashes(tmp_path: Path):
    out = tmp_path / "sbom.cdx.json"
    words = ["requirements", "docker/requirements-api.txt", "--pyproject", "pyproject.toml", "--mc-type", "application"]
    command = [str(Path(sys.executable).parent / "cyclonedx-py"), *words, "--validate", "--output-file", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    bill = json.loads(out.read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "allinone-face")
    named = {canonicalize_name(one["name"]): one for one in bill["components"]}
    assert {name: one["version"] for name, one in named.items()} == {n: v for n, (v, _) in locked("api").items()}
    assert all(one["externalReferences"][0]["hashes"] for one in named.values())
