"""`face=all`: everybody in one photo, each face searched by itself."""

from collections.abc import Iterator

import pytest

from service.client.client import Client
from service.config import Settings
from service.gallery.resources import open_keys
from service.http.group_search import give_subjects_to_best_faces
from service.schemas.names import Role
from service.schemas.search import MatchResponse
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64, is_problem

ADA, BOB, EVE = 1, 2, 3
SEARCH = "/v1/collections/staff/search"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("group"), api_keys="on", probes_per_minute=20)


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    """The API with keys on, ada and bob in a collection."""
    with people_served(settings) as running:
        admin = headers(settings, "admin")
        running.client.put("/v1/collections/staff", headers=admin).raise_for_status()
        for name, person in (("ada", ADA), ("bob", BOB)):
            url = f"/v1/collections/staff/subjects/{name}/media?create=true"
            running.client.post(url, content=photo(person), headers=admin).raise_for_status()
        yield running


def headers(settings: Settings, *roles: Role) -> dict[str, str]:
    """Return a new key in a header."""
    with open_keys(settings) as keys:
        return {"Authorization": f"Bearer {keys.create('test', roles)[1]}"}


def names(answer: dict) -> list[str | None]:
    """Return who each face is, by the position of the faces in the photo."""
    faces = sorted(answer["faces"], key=lambda face: face["box"]["x"])
    return [face["matches"][0]["subject"] if face["matched"] else None for face in faces]


def test_every_face_of_a_photo_is_searched(settings: Settings, served: Served) -> None:
    key = headers(settings, "enrol", "verify")
    answer = served.client.post(f"{SEARCH}?face=all", content=photo(BOB, EVE, ADA, take=2), headers=key).json()
    assert names(answer) == ["bob", None, "ada"]
    assert (answer["gallery_size"], answer["more"], answer["fpir"]) == (2, False, settings.fpir)
    first = answer["faces"][0]
    assert (first["score"], first["quality"]["overall"]) == (0.9, 1)
    single = served.client.post(SEARCH, content=photo(BOB, take=2), headers=key).json()
    assert first["threshold"] == single["threshold"]
    assert first["matches"][0] == single["matches"][0]


def test_a_subject_is_given_to_one_face_only(settings: Settings, served: Served) -> None:
    key = headers(settings, "enrol", "verify")
    twice = photo(ADA, ADA, take=2)
    assert names(served.client.post(f"{SEARCH}?face=all", content=twice, headers=key).json()) == ["ada", None]
    shared = served.client.post(SEARCH, json={"image": b64(twice), "face": "all", "exclusive": False}, headers=key)
    assert names(shared.json()) == ["ada", "ada"]


def test_the_most_similar_face_has_the_subject() -> None:
    def match(subject: str, similarity: float) -> MatchResponse:
        return MatchResponse(
            subject=subject, similarity=similarity, threshold=0.5, matched=similarity >= 0.5, metadata=None
        )

    rows = [[match("ada", 0.6), match("bob", 0.4)], [match("ada", 0.8)], [match("bob", 0.3)]]
    given = give_subjects_to_best_faces(rows)
    assert [[match.subject for match in row] for row in given] == [["bob"], ["ada"], ["bob"]]


def test_a_key_that_only_verifies_learns_of_matches_only(settings: Settings, served: Served) -> None:
    key = headers(settings, "verify")
    answer = served.client.post(f"{SEARCH}?face=all", content=photo(EVE, ADA, take=2), headers=key).json()
    assert answer["faces"][0]["matches"] == []
    (match,) = answer["faces"][1]["matches"]
    assert (match["subject"], match["metadata"]) == ("ada", None)
    assert match["similarity"] == round(match["similarity"], 2)


def test_each_face_counts_as_a_search_for_such_a_key(settings: Settings, served: Served) -> None:
    key = headers(settings, "verify")
    crowd = photo(*([EVE] * 8))
    statuses = [served.client.post(f"{SEARCH}?face=all", content=crowd, headers=key).status_code for _ in range(3)]
    assert statuses[0] == 200
    assert statuses[-1] == 429


def test_what_cannot_be_searched(settings: Settings, served: Served) -> None:
    key = headers(settings, "admin")
    post = served.client.post
    is_problem(post(f"{SEARCH}?face=all", content=photo(), headers=key), 422, "no_face")
    is_problem(post(f"{SEARCH}?face=everybody", content=photo(ADA), headers=key), 422, "invalid_request")
    pair = {"images": [b64(photo(ADA)), b64(photo(BOB))]}
    assert (
        "one photo" in is_problem(post(f"{SEARCH}?face=all", json=pair, headers=key), 422, "invalid_request")["detail"]
    )
    is_problem(post("/v1/compare?face=all", json=pair, headers=key), 422, "invalid_request")


def test_the_client_searches_for_all(settings: Settings, served: Served) -> None:
    token = headers(settings, "admin")["Authorization"].removeprefix("Bearer ")
    with Client(served.url, token) as faces:
        answer = faces.search_all("staff", photo(BOB, ADA, take=2), limit=1)
        assert [face.matches[0].subject for face in answer.faces] == ["bob", "ada"]
        assert faces.compare(photo(BOB, ADA), photo(ADA, take=2), face=0).matched is False
