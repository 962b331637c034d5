"""bulk-enrol: photos recognised by their first bytes, everything unusable named, going on where it stopped."""

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.service.commands.running import Done, command
from tests.service.gallery.served import photo
from tests.service.serving import Served

ADA, BOB = 1, 2


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    for name, who in (("ada", ADA), ("bob", BOB)):
        (folder / name).mkdir(parents=True)
        for take in (1, 2):
            (folder / name / f"{take}.png").write_bytes(photo(who, take=take))
    return folder


def bulk_enrol(served: Served, folder: Path) -> Done:
    return command("bulk-enrol", "staff", folder, "--create", url=served.url)


def test_it_enrols_everybody_and_goes_on_where_it_stopped(people_server: Served, people: Path) -> None:
    done = bulk_enrol(people_server, people)
    assert (done.returncode, done.stdout, done.stderr) == (0, "4 of 4 photos of 2 people are enrolled\n", "")
    ada = "/v1/collections/staff/subjects/ada"
    before = people_server.client.get(ada).json()["updated"]
    (people / "bob" / "3.png").write_bytes(photo(BOB, take=3))
    assert bulk_enrol(people_server, people).stdout == "5 of 5 photos of 2 people are enrolled\n"
    assert people_server.client.get(ada).json()["updated"] == before, "what is enrolled is not sent again"


@pytest.mark.parametrize("name", ["1.jfif", "1.jpe", "1.hif", "1.mpo", "1.JPG", "1", "1.txt"])
def test_photos_are_known_by_their_first_bytes(people_server: Served, people: Path, name: str) -> None:
    (people / "cyd").mkdir()
    (people / "cyd" / name).write_bytes(photo(3))
    assert bulk_enrol(people_server, people).stdout == "5 of 5 photos of 3 people are enrolled\n"


def test_what_cannot_be_used_is_named_and_is_1(people_server: Served, people: Path) -> None:
    (people / "bob" / "3.png").write_bytes(photo())
    (people / "bob" / "4.mpo").write_bytes(b"\xff\xd8\xff nothing")
    (people / "dan" / "deep").mkdir(parents=True)
    (people / "dan" / "deep" / "notes.doc").write_text("no photo")
    (people / "eve").mkdir()
    (people / "eve" / "empty.jpg").write_bytes(b"")
    (people / "list.csv").write_text("BMW is not a bitmap: it only begins like one")
    done = bulk_enrol(people_server, people)
    assert (done.returncode, done.stdout) == (1, "4 of 6 photos of 4 people are enrolled\n")
    lines = done.stderr.splitlines()
    assert lines[0] == "allinone-face: 3 other files were ignored"
    assert lines[1].startswith(f"allinone-face: {people}/bob/3.png: No face was found")
    assert lines[2].startswith(f"allinone-face: {people}/bob/4.mpo: ")
    assert lines[3:] == [
        "allinone-face: dan: no photo of this person is enrolled",
        "allinone-face: eve: no photo of this person is enrolled",
    ]


def test_other_files_do_not_change_the_exit_status(people_server: Served, people: Path) -> None:
    (people / "ada" / "Thumbs.db").write_bytes(bytes(100))
    done = bulk_enrol(people_server, people)
    assert (done.returncode, done.stderr) == (0, "allinone-face: 1 other file was ignored\n")


def test_a_real_mpo_file(people_server: Served, people: Path) -> None:
    """Two JPEGs in one file, as stereo cameras write: sent whole, and read by its first picture."""
    pictures = [Image.open(io.BytesIO(photo(3, take=take))) for take in (1, 2)]
    (people / "cyd").mkdir()
    pictures[0].save(people / "cyd" / "1.mpo", save_all=True, append_images=pictures[1:])
    assert "5 photos of 3 people" in bulk_enrol(people_server, people).stdout


def test_folders_that_cannot_be_used(people_server: Served, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    missing = bulk_enrol(people_server, tmp_path / "none")
    assert (missing.returncode, missing.stderr) == (1, f"allinone-face: {tmp_path}/none is not a folder\n")
    empty = bulk_enrol(people_server, tmp_path / "empty")
    assert (empty.returncode, "no photos in" in empty.stderr) == (1, True)
