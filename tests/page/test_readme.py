"""What the README promises, done."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import CODES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
CALLS = [line for line in README.splitlines() if re.search(r"\bcurl .*http://127\.0\.0\.1:8000/v1/(faces|model)", line)]


@pytest.mark.parametrize("call", CALLS)
def test_each_call_of_the_api_works_as_written(call: str, photos: Path, service_url: str, tmp_path: Path):
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


def test_there_are_five_calls():
    assert len(CALLS) == 5


def test_every_setting_stands_in_the_table_with_its_default():
    rows = dict(re.findall(r"^\| `FACE_(\w+)` \| (\S+) \|", README, re.MULTILINE))
    assert {name.lower() for name in rows} == set(Settings.model_fields)
    given = {name.lower(): value for name, value in rows.items() if value not in ("–", "cors_origins")}
    told = Settings.model_validate(given)
    for name in given:
        assert getattr(told, name) == getattr(Settings(), name), name
    unset = {name.lower() for name, value in rows.items() if value == "–"}
    assert all(getattr(Settings(), name) in (None, ()) for name in unset)


def test_every_code_of_a_photo_stands_in_the_table():
    own = {"internal_error", "analysis_failed", "not_found", "method_not_allowed"}
    table = README[README.index("| status | codes |") : README.index("## The command line")]
    for code, kind in CODES.items():
        if code not in own:
            assert re.search(rf"^\| .*{kind.status}.* \| .*`{code}`", table, re.MULTILINE), code


def test_our_figures_are_those_of_the_results():
    block = README[README.index("<!-- figures: begin") : README.index("<!-- figures: end -->")]
    ours = re.findall(r"^\|[^|]+\| ([\d][^|]+) \|", block, re.MULTILINE)
    assert ours
    results = (ROOT / "docs" / "results.md").read_text()
    assert [figure for figure in ours if figure not in results] == []


def test_the_lock_holds_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {_plain(re.split(r"[><=\[ ]", line)[0]) for line in wanted} - {"allinone-face"}
    pins = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", pin) for pin in pins if not pin.startswith("#"))
    assert names <= {_plain(pin.split("==")[0]) for pin in pins}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
