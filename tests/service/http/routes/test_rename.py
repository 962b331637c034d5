"""A subject gets another name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import Client
from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, is_problem

ADA, BOB = 1, 2
PEOPLE = "/v1/collections/people"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path)) as running, Client(running.url) as faces:
        faces.put_collection("people", keep_photos=True)
        faces.enrol("people", "ada", [photo(ADA), photo(ADA, take=2)], create=True)
        faces.put_subject("people", "ada", metadata={"desk": 7})
        faces.enrol("people", "bob", photo(BOB), create=True)
        yield running


def test_it_keeps_photos_template_and_metadata(served: Served) -> None:
    with Client(served.url) as faces:
        before = faces.subject("people", "ada")
        after = faces.rename_subject("people", "ada", "Ada Lovelace")
        assert (after.id, after.metadata, after.template) == ("Ada Lovelace", {"desk": 7}, True)
        assert [medium.id for medium in after.media] == [medium.id for medium in before.media]
        assert faces.medium_photo("people", "Ada Lovelace", after.media[0].id) == photo(ADA)
        found = faces.search("people", photo(ADA, take=3))
        assert found.matches[0].subject == "Ada Lovelace"
    is_problem(served.client.get(f"{PEOPLE}/subjects/ada"), 404, "subject_not_found")


def test_a_name_that_is_taken_changes_nothing(served: Served) -> None:
    refused = served.client.post(f"{PEOPLE}/subjects/ada/rename", json={"name": "bob"})
    is_problem(refused, 409, "subject_exists")
    with Client(served.url) as faces:
        assert {subject.id: len(subject.media) for subject in faces.subjects("people")} == {"ada": 2, "bob": 1}


def test_the_same_name_and_names_that_are_none(served: Served) -> None:
    path = f"{PEOPLE}/subjects/ada/rename"
    assert served.client.post(path, json={"name": "ada"}).json()["id"] == "ada"
    is_problem(served.client.post(path, json={"name": "a/b"}), 422, "invalid_request")
    is_problem(served.client.post(path, json={"name": "\x07"}), 422, "invalid_name")
    is_problem(served.client.post(path, json={}), 422, "invalid_request")
    is_problem(served.client.post(f"{PEOPLE}/subjects/eve/rename", json={"name": "x"}), 404, "subject_not_found")
    is_problem(
        served.client.post("/v1/collections/none/subjects/a/rename", json={"name": "x"}), 404, "collection_not_found"
    )
