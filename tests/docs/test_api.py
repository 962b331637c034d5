"""What docs/api.md promises, done as written. Its calls about jobs are run by tests/service/jobs/test_jobs.py."""

import json
import subprocess
from pathlib import Path

import pytest

import service.http.app  # noqa: F401 - all errors are registered when it is imported
from service.errors import ServiceError
from tests.docs.pages import error_table, shell_blocks

CALLS = shell_blocks("api.md")[0].splitlines()


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


def test_every_error_stands_in_a_table_with_its_status():
    table = error_table("api.md") | error_table("identity.md")
    unseen = "video_needs_job"  # a worker answers it, and no caller sees it
    for code, kind in ServiceError.codes.items():
        if code != unseen and not kind.__module__.startswith("service.http.compat"):
            assert str(kind.status) in table.get(code, ""), code
