"""`allinone-face jobs`: photos handed in, waited for, sorted into people."""

import json
from pathlib import Path

from service.config import Settings
from tests.service.commands.running import command
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

ADA, BOB = 1, 2


def pile(folder: Path) -> Path:
    folder.mkdir()
    for name, shown in {"1.png": photo(ADA), "2.png": photo(BOB, ADA, take=2), "3.png": photo(ADA)}.items():
        (folder / name).write_bytes(shown)
    return folder


def test_a_pile_is_sorted_into_people_by_a_job(people_server: Served, tmp_path: Path):
    submitted = command("jobs", "submit", "--cluster", pile(tmp_path / "pile"), url=people_server.url)
    assert submitted.returncode == 0, submitted.stderr
    waited = command("jobs", "wait", submitted.stdout.strip(), "--timeout", 60, url=people_server.url)
    assert waited.returncode == 0, waited.stderr
    *photos, last = map(json.loads, waited.stdout.splitlines())
    names = {row["index"]: row["name"].rpartition("/")[2] for row in photos}
    assert sorted(names.values()) == ["1.png", "2.png", "3.png"]
    (cluster,) = last["clusters"]["clusters"]
    assert {(names[face["image"]], face["face"]) for face in cluster["faces"]} == {
        ("1.png", 0), ("2.png", 1), ("3.png", 0),
    }  # fmt: skip
    (twice,) = last["clusters"]["duplicates"]
    assert {names[twice["image"]], names[twice["same_as"]]} == {"1.png", "3.png"}
    assert command("jobs", "results", submitted.stdout.strip(), url=people_server.url).stdout == waited.stdout
    assert command("jobs", "delete", submitted.stdout.strip(), url=people_server.url).returncode == 0


def test_a_job_that_sorts_nobody_has_no_line_of_people(people_server: Served, tmp_path: Path):
    submitted = command("jobs", "submit", pile(tmp_path / "pile"), url=people_server.url)
    waited = command("jobs", "wait", submitted.stdout.strip(), url=people_server.url)
    assert all("clusters" not in json.loads(line) for line in waited.stdout.splitlines())
    assert len(waited.stdout.splitlines()) == 3


def test_faces_that_cannot_be_sorted(tmp_path: Path):

    with people_served(Settings(data_dir=tmp_path / "data", cluster_faces=2)) as running:
        submitted = command("jobs", "submit", "--cluster", pile(tmp_path / "pile"), url=running.url)
        waited = command("jobs", "wait", submitted.stdout.strip(), url=running.url)
    assert waited.returncode == 1
    assert "at most 2 faces" in waited.stderr
    assert len(waited.stdout.splitlines()) == 3
