"""What the README promises, done as written. Its first two commands are run by .ci/run itself."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import cv2
import pytest
import skimage.data

from tests.docs.pages import PAGES, ROOT, shell_blocks

README = PAGES["README.md"]


def test_one_command_starts_the_service_and_one_runs_the_tests():
    start, test = (block.strip() for block in shell_blocks("README.md")[:2])
    assert "\n" not in start + test
    assert start.endswith("allinone-face serve")
    assert test == ".ci/run"
    assert os.access(ROOT / test, os.X_OK)


@pytest.mark.slow
def test_the_calls_work_as_written(service_url: str, tmp_path: Path):
    astronaut = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    for name, photo in (("photo", astronaut), ("ada", astronaut), ("who", astronaut[:, ::-1])):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), photo)
    analyze, collection, enrol, search, forget = shell_blocks("README.md")[2].splitlines()

    def call(line: str) -> dict[str, Any]:
        command = line.replace("http://127.0.0.1:8000", service_url).replace("curl ", "curl --silent --fail ", 1)
        return json.loads(subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True).stdout)

    answer = call(analyze)
    shown = json.loads(re.findall(r"^```json\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0])
    assert [set(answer), set(answer["faces"][0])] == [set(shown), set(shown["faces"][0])]
    assert call(collection)["name"] == "staff"
    assert len(call(enrol)["subject"]["media"]) == 1
    [match] = call(search)["matches"]
    assert (match["subject"], match["matched"]) == ("ada", True)
    assert call(forget)["media"] == 1


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_leads_to_a_file(page: str):
    folder = ROOT if page in ("README.md", "CONTRIBUTING.md") else ROOT / "docs"
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", PAGES[page])
    files = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in files if not (folder / link).exists()] == []


def test_our_figures_are_those_of_the_results():
    block = README[README.index("<!-- figures: begin") : README.index("<!-- figures: end -->")]
    ours = re.findall(r"^\|[^|]+\| ([\d][^|]+) \|", block, re.MULTILINE)
    assert ours
    assert [figure for figure in ours if figure not in PAGES["results.md"]] == []


def test_the_lock_holds_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {_normalized(re.split(r"[><=;\[ ]", line)[0]) for line in wanted} - {"allinone-face"}
    pins = (ROOT / "docker" / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.!+]+", pin) for pin in pins if not pin.startswith("#"))
    assert names <= {_normalized(pin.split("==")[0]) for pin in pins}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
