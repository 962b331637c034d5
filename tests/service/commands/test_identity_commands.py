"""compare, enrol, verify and identify against a server: words, JSON, exit status, errors with the next step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.commands.running import command
from tests.service.gallery.served import photo
from tests.service.serving import Served

ADA = 1


def test_matched_is_0_not_matched_is_1(people_server: Served, ada: Path, eve: Path) -> None:
    url = people_server.url
    added = command("enrol", "staff", "ada", ada, "--create", url=url)
    assert (added.returncode, added.stdout) == (0, "1 of 1 photos enrolled, 1 in all\n")
    for words, start in (
        (("compare", ada, ada), "one person: similarity"),
        (("verify", "staff", "ada", ada), "one person: similarity"),
        (("identify", "staff", ada), "threshold "),
    ):
        done = command(*words, url=url)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(start)
    for words in (("compare", ada, eve), ("verify", "staff", "ada", eve), ("identify", "staff", eve)):
        done = command(*words, url=url)
        assert (done.returncode, done.stderr) == (1, "")
        assert "not matched" in done.stdout or words[0] == "identify"
    assert command("identify", "staff", ada, url=url).stdout.splitlines()[1].startswith("match")


def test_json_is_the_servers_answer(people_server: Served, ada: Path) -> None:
    command("enrol", "staff", "ada", ada, "--create", url=people_server.url)
    found = command("identify", "staff", ada, "--json", "--limit", "1", url=people_server.url)
    assert json.loads(found.stdout)["matches"][0]["subject"] == "ada"
    compared = command("compare", ada, ada, "--json", "--far", "0.0001", url=people_server.url)
    assert json.loads(compared.stdout)["far"] == 0.0001


def test_a_photo_from_standard_input(people_server: Served, ada: Path) -> None:
    url = people_server.url
    assert command("enrol", "staff", "ada", "-", "--create", url=url, stdin=photo(ADA)).returncode == 0
    assert command("compare", ada, "-", url=url, stdin=photo(ADA, take=2)).returncode == 0
    assert command("identify", "staff", "-", url=url, stdin=photo(ADA, take=3)).returncode == 0
    twice = command("compare", "-", "-", url=url, stdin=photo(ADA))
    assert (twice.returncode, twice.stderr) == (2, "allinone-face: standard input (-) can be one photo only\n")


def test_every_error_is_2_and_says_where_and_what_next(people_server: Served, ada: Path, nobody: Path) -> None:
    url = people_server.url
    for words, said in (
        (("compare", "none.png", ada), ["none.png: No such file"]),
        (("identify", "staff", ada), [url, "collection_not_found", "collections create"]),
        (("compare", nobody, ada), ["no_face"]),
        (("identify", "a/b", ada), ["a name is not empty"]),
    ):
        done = command(*words, url=url)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        for text in said:
            assert text in done.stderr
        assert "Traceback" not in done.stderr
    command("enrol", "staff", "ada", ada, "--create", url=url)
    assert "nobody.png: No face" in command("verify", "staff", "ada", nobody, url=url).stderr
    absent = command("verify", "staff", "ada", ada)
    assert absent.returncode == 2
    assert "the server at http://127.0.0.1:1 cannot be reached" in absent.stderr
    assert "allinone-face serve" in absent.stderr
    assert "FACE_URL" in absent.stderr


@pytest.mark.parametrize("name", ["compare", "verify", "identify"])
def test_the_help_says_what_the_exit_status_means(name: str) -> None:
    shown = command(name, "--help")
    assert shown.returncode == 0
    assert "exit status: 0 matched, 1 not matched, 2 error" in shown.stdout
    assert "examples:" in shown.stdout


def test_a_refused_photo_is_named(people_server: Served, ada: Path, nobody: Path) -> None:
    done = command("enrol", "staff", "ada", ada, nobody, "--create", url=people_server.url)
    assert (done.returncode, done.stdout) == (1, "1 of 2 photos enrolled, 1 in all\n")
    assert "nobody.png: No face" in done.stderr
    alone = command("enrol", "staff", "ada", nobody, url=people_server.url)
    assert alone.returncode == 1
    assert "nobody.png: No face" in alone.stderr


def test_a_reader_that_leaves_early_is_no_complaint(people_server: Served, ada: Path) -> None:
    people_server.client.put("/v1/collections/staff")
    for number in range(40):
        subject = f"/v1/collections/staff/subjects/person {number:03}/media"
        added = people_server.client.post(subject, params={"create": True}, content=ada.read_bytes())
        assert added.status_code == 200
    words = f"{sys.executable} -m service people list staff | head -n 1"
    environment = {**os.environ, "FACE_URL": people_server.url, "PYTHONUNBUFFERED": "1"}
    shell = ["bash", "-c", f"set -o pipefail; {words}"]
    done = subprocess.run(shell, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 1


def test_every_face_of_a_group_photo(people_server: Served, ada: Path, tmp_path: Path) -> None:
    command("enrol", "staff", "ada", ada, "--create", url=people_server.url)
    group = tmp_path / "group.png"
    group.write_bytes(photo(3, ADA, take=2))
    done = command("identify", "staff", group, "--all", url=people_server.url)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr, lines[0]) == (0, "", "2 faces, 1 subjects")
    assert lines[1].startswith("face 1 at 0,0, 1 × 1 pixels: nobody")
    assert lines[2].startswith("face 2 at 1,0, 1 × 1 pixels: ada  ")
    alone = command("identify", "staff", group, "--all", "--json", url=people_server.url)
    assert [face["matched"] for face in json.loads(alone.stdout)["faces"]] == [False, True]
