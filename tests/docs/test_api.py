"""What docs/api.md promises, done as written. Its calls about jobs are run by tests/service/jobs/test_jobs.py."""

import json
import subprocess
from pathlib import Path

import pytest

from service.errors import ServiceError
from tests.docs.pages import error_table, shell_blocks

CALLS = shell_blocks("api.md")[0].splitlines()
UNLISTED = {"internal_error", "not_found", "method_not_allowed", "video_needs_job"}
"""Codes that say nothing of a request, and one that a worker answers and no caller sees."""
"""Errors of no call in particular."""


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS)
def test_each_call_works_as_written(call: str, photos: Path, service_url: str, tmp_path: Path):
    for name in ("photo.jpg", "other.jpg"):
        (tmp_path / name).symlink_to(photos / "astronaut.png")
    command = call.replace("http://127.0.0.1:8000", service_url).replace("curl ", "curl --silent --fail ")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    answer = json.loads(done.stdout)
    images = answer.get("images", [answer])
    assert len(images) == max(1, call.count(".jpg"))
    if "/v1/faces" in call:
        assert all(len(image["faces"]) == 1 for image in images)
        [face] = images[0]["faces"]
        assert ("descriptor" in face) == ("descriptor=true" in call)
        assert ("landmarks" in face) == ('"landmarks": false' not in call)


def test_every_error_stands_in_the_table_with_its_status():
    table = error_table("api.md")
    for code, kind in ServiceError.codes.items():
        if code not in UNLISTED and kind.__module__ == "service.errors":
            assert str(kind.status) in table.get(code, ""), code
