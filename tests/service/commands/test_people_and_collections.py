"""people and collections: list, create, show and delete against a server."""

import json
from pathlib import Path

from service.client import Client
from tests.service.commands.running import command
from tests.service.gallery.served import photo
from tests.service.serving import Served


def test_collections_are_made_shown_listed_and_deleted(people_server: Served, ada: Path) -> None:
    url = people_server.url
    made = command("collections", "create", "staff", "--keep-photos", "--ttl", "86400", url=url)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout.startswith("staff: 0 people; mode media, keep_photos True, ttl 86400.0; model aaaa")
    assert command("collections", "create", "guests", url=url).returncode == 0
    command("enrol", "staff", "ada", ada, url=url)
    listed = command("collections", "list", url=url).stdout.splitlines()
    assert sorted(line.split() for line in listed) == [["0", "people", "guests"], ["1", "person", "staff"]]
    shown = json.loads(command("collections", "show", "staff", "--json", url=url).stdout)
    assert (shown["name"], shown["subjects"], shown["policy"]["ttl"]) == ("staff", 1, 86400)
    deleted = command("collections", "delete", "staff", url=url)
    assert deleted.stdout.startswith("deleted with 1 person; receipt ")
    gone = command("collections", "show", "staff", url=url)
    assert (gone.returncode, "collection_not_found" in gone.stderr) == (1, True)


def test_people_are_listed_shown_and_deleted(people_server: Served, ada: Path, eve: Path) -> None:
    url = people_server.url
    command("enrol", "staff", "ada", ada, "--create", url=url)
    command("enrol", "staff", "eve", eve, ada, url=url)
    listed = command("people", "list", "staff", url=url).stdout.splitlines()
    assert sorted((line.split()[0], line.split()[-1]) for line in listed) == [("1", "ada"), ("2", "eve")]
    rows = [json.loads(line) for line in command("people", "list", "staff", "--json", url=url).stdout.splitlines()]
    assert sorted(row["id"] for row in rows) == ["ada", "eve"]
    shown = command("people", "show", "staff", "ada", url=url).stdout.splitlines()
    assert shown[0].startswith("ada: 1 photo, enrolled on ")
    assert shown[1].endswith("quality 1.00")
    deleted = command("people", "delete", "staff", "ada", url=url)
    assert deleted.stdout.startswith("deleted with 1 photo; receipt ")
    again = command("people", "delete", "staff", "ada", url=url)
    assert (again.returncode, "people list" in again.stderr) == (1, True)


def test_conflicts_of_a_collection(people_server: Served) -> None:
    with Client(people_server.url) as faces:
        faces.put_collection("staff")
        faces.enrol("staff", "ada", photo(1), create=True)
        assert command("collections", "conflicts", "staff", url=people_server.url).returncode == 0
        faces.enrol("staff", "ann", photo(1, take=2), create=True)
        faces.enrol("staff", "ann", [photo(1, take=3), photo(2)])
    done = command("collections", "conflicts", "staff", url=people_server.url)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ada and ann: similarity 0.")
    assert lines[1].startswith("ann, photo ")
