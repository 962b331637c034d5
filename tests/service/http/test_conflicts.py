"""Enrolment tells when a face already belongs to another subject."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import Client, FaceError
from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, is_problem

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[tuple[Served, Client]]:
    """The API with ada in a collection, and a client."""
    with people_served(Settings(data_dir=tmp_path)) as running, Client(running.url) as client:
        client.put_collection("staff")
        client.enrol("staff", "ada", photo(ADA), create=True)
        yield running, client


def test_conflicts_are_reported_and_stored(faces: tuple[Served, Client]) -> None:
    _, client = faces
    assert client.enrol("staff", "ada", photo(ADA, take=2)).conflicts == []
    assert client.enrol("staff", "bob", photo(BOB), create=True).conflicts == []
    answer = client.enrol("staff", "eve", [photo(EVE), photo(ADA, take=3)], create=True)
    assert answer.conflicts is not None
    assert [conflict.subject for conflict in answer.conflicts] == ["ada"]
    assert 0.5 < answer.conflicts[0].similarity <= 1
    assert len(answer.subject.media) == 2


def test_refused_conflicts_store_nothing(faces: tuple[Served, Client]) -> None:
    served, client = faces
    url = "/v1/collections/staff/subjects/somebody/media?create=true&on_conflict=refuse"
    problem = is_problem(served.client.post(url, content=photo(ADA, take=2)), 409, "identity_conflict")
    assert "ada" not in re.findall(r"\w+", problem["detail"])
    with pytest.raises(FaceError) as refusal:
        client.subject("staff", "somebody")
    assert refusal.value.code == "subject_not_found"
    assert served.client.post(url, content=photo(BOB)).json()["conflicts"] == []


def test_ignored_conflicts_are_not_looked_for(faces: tuple[Served, Client]) -> None:
    _, client = faces
    answer = client.enrol("staff", "somebody", photo(ADA, take=2), create=True, on_conflict="ignore")
    assert answer.conflicts is None
    with pytest.raises(FaceError) as refusal:
        client.enrol("staff", "somebody", photo(ADA, take=2), on_conflict="ask")  # type: ignore[arg-type]
    assert (refusal.value.status, refusal.value.code) == (422, "invalid_request")


def test_a_model_without_calibration_enrols_but_cannot_refuse(tmp_path: Path) -> None:
    with people_served(Settings(data_dir=tmp_path), calibrated=False) as running:
        running.client.put("/v1/collections/staff").raise_for_status()
        url = "/v1/collections/staff/subjects/ada/media?create=true"
        assert running.client.post(url, content=photo(ADA)).json()["conflicts"] is None
        is_problem(running.client.post(f"{url}&on_conflict=refuse", content=photo(ADA)), 503, "not_calibrated")
