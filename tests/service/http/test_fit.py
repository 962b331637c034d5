"""Media that do not fit their subject, subjects who match each other, and photos of several people at enrolment."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import Client, FaceError
from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64, is_problem

ADA, BOB, EVE, JIM = 1, 2, 3, 4
ENROL = "/v1/collections/staff/subjects/{}/media?create=true"


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[tuple[Served, Client]]:
    with people_served(Settings(data_dir=tmp_path)) as running, Client(running.url) as client:
        client.put_collection("staff")
        yield running, client


def test_a_photo_of_several_people_is_refused_with_their_boxes(faces: tuple[Served, Client]) -> None:
    served, client = faces
    crowd = photo(ADA, BOB, EVE)
    problem = is_problem(served.client.post(ENROL.format("ada"), content=crowd), 422, "several_faces")
    assert [box["x"] for box in problem["boxes"]] == [0, 1, 2]
    assert "3 faces" in problem["detail"]
    pair = {"images": [b64(crowd), b64(photo(ADA))]}
    refused, enrolled = served.client.post(ENROL.format("ada"), json=pair).json()["photos"]
    assert len(refused["error"]["boxes"]) == 3
    assert enrolled["faces_seen"] == 1
    answer = client.enrol("staff", "bob", crowd, create=True, face=1)
    assert answer.photos[0].faces_seen == 3  # type: ignore[union-attr]
    assert client.verify("staff", "bob", photo(BOB, take=2)).matched


def test_every_answer_says_how_many_faces_were_seen(faces: tuple[Served, Client]) -> None:
    _, client = faces
    client.enrol("staff", "ada", photo(ADA), create=True)
    pair = photo(ADA, BOB, take=2)
    assert client.verify("staff", "ada", pair).faces[0].faces_seen == 2
    assert client.search("staff", pair, face=1).faces[0].faces_seen == 2
    assert client.search_all("staff", pair).faces_seen == 2
    assert client.template(pair, face="largest").faces[0].faces_seen == 2
    compared = client.compare(pair, photo(ADA, take=3), face="largest")
    assert [face.faces_seen for face in compared.faces] == [2, 1]
    assert client.analyze(pair, max_faces=1).faces_seen == 2
    for call in (lambda: client.verify("staff", "ada", pair, face="only"), lambda: client.compare(pair, pair, face=2)):
        with pytest.raises(FaceError) as refusal:
            call()
        assert refusal.value.code in ("several_faces", "no_such_face")


def test_a_medium_of_somebody_else_is_reported(faces: tuple[Served, Client]) -> None:
    _, client = faces
    first = client.enrol("staff", "ada", [photo(ADA, take=take) for take in (1, 2, 3)], create=True)
    assert first.outliers == []
    answer = client.enrol("staff", "ada", photo(BOB))
    (outlier,) = answer.outliers or []
    assert outlier.medium == answer.photos[0].medium  # type: ignore[union-attr]
    assert outlier.similarity < 0.5
    assert client.subject("staff", "ada").outliers == [outlier]
    assert client.delete_medium("staff", "ada", outlier.medium).outliers == []


def test_of_two_media_that_differ_both_are_reported(faces: tuple[Served, Client]) -> None:
    _, client = faces
    client.enrol("staff", "ada", photo(ADA), create=True)
    assert len(client.enrol("staff", "ada", photo(BOB)).outliers or []) == 2


def test_conflicts_of_a_collection(faces: tuple[Served, Client]) -> None:
    served, client = faces
    for name, person, take in (("ada", ADA, 1), ("ann", ADA, 2), ("bob", BOB, 1), ("eve", EVE, 1), ("rob", BOB, 2)):
        client.enrol("staff", name, photo(person, take=take), create=True, on_conflict="ignore")
    client.enrol("staff", "eve", [photo(EVE, take=2), photo(JIM)])
    whole = client.conflicts("staff")
    assert {conflict.subjects for conflict in whole.conflicts} == {("ada", "ann"), ("bob", "rob")}
    assert all(conflict.similarity >= conflict.threshold for conflict in whole.conflicts)
    assert [outlier.subject for outlier in whole.outliers] == ["eve"]
    assert (whole.checked, whole.cursor) == (5, None)
    pairs = set()
    cursor = None
    while True:
        part = client.conflicts("staff", cursor=cursor, limit=2)
        pairs |= {conflict.subjects for conflict in part.conflicts}
        cursor = part.cursor
        if cursor is None:
            break
    assert pairs == {("ada", "ann"), ("bob", "rob")}
    is_problem(served.client.get("/v1/collections/none/conflicts"), 404, "collection_not_found")
    is_problem(served.client.get("/v1/collections/staff/conflicts?limit=0"), 422, "invalid_request")
    is_problem(served.client.get("/v1/collections/staff/conflicts?cursor=x"), 422, "invalid_subject")


def test_without_a_calibration_nobody_looks(tmp_path: Path) -> None:
    with people_served(Settings(data_dir=tmp_path), calibrated=False) as running, Client(running.url) as client:
        client.put_collection("staff")
        assert client.enrol("staff", "ada", photo(ADA), create=True).outliers is None
        is_problem(running.client.get("/v1/collections/staff/conflicts"), 503, "not_calibrated")
