""".github/workflows/publish.yml, which cannot run here: its steps and what they name."""

import re
from pathlib import Path

import yaml

from tests.ship.dockerfile import read

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / ".github/workflows/publish.yml").read_text()
JOBS = yaml.safe_load(TEXT)["jobs"]


def commands(job: str) -> str:
    return "\n".join(step.get("run", "") or step["uses"] for step in JOBS[job]["steps"])


def test_nothing_is_published_before_the_checks_and_known_weaknesses_are_looked_up() -> None:
    assert JOBS["image"]["needs"] == "check"
    assert ".ci/run" in commands("check")
    [file] = re.findall(r"pip-audit .*--requirement (\S+)", commands("check"))
    assert (ROOT / file).exists()


def test_the_workflow_builds_signs_and_attests_every_image() -> None:
    targets = JOBS["image"]["strategy"]["matrix"]["target"]
    assert set(targets) <= set(read(ROOT / "Dockerfile")[1])
    assert targets == ["api", "worker-cpu", "worker-cuda"]
    steps = commands("image")
    order = ["docker/build-push-action", "anchore/sbom-action", "cosign sign", "cosign attest"]
    assert [steps.index(word) for word in order] == sorted(steps.index(word) for word in order)
    assert JOBS["image"]["permissions"]["id-token"] == "write"
    bill = next(step["with"] for step in JOBS["image"]["steps"] if "sbom-action" in step.get("uses", ""))
    assert bill["format"] == "cyclonedx-json"
    assert f"--predicate {bill['output-file']}" in steps
