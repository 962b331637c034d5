"""What a key that may only compare and search can learn: who matches, to 0.01, and nothing else."""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from service.schemas.names import Role
from tests.service.gallery.served import DIMENSION, MODEL, people_served, photo
from tests.service.serving import Served

ADA, BOB, EVE = 1, 2, 3
STAFF = "/v1/collections/staff"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("keys"), api_keys="on")


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    """The API with keys on, ada and bob in a collection."""
    with people_served(settings) as running:
        admin = headers(settings, "admin")
        running.client.put(STAFF, headers=admin).raise_for_status()
        for name, person in (("ada", ADA), ("bob", BOB)):
            url = f"{STAFF}/subjects/{name}"
            running.client.put(url, json={"metadata": {"note": f"private of {name}"}}, headers=admin).raise_for_status()
            running.client.post(f"{url}/media", content=photo(person), headers=admin).raise_for_status()
        yield running


def headers(settings: Settings, *roles: Role) -> dict[str, str]:
    """A new key in a header."""
    with open_keys(settings) as keys:
        return {"Authorization": f"Bearer {keys.create('test', roles)[1]}"}


def template(seed: int = 0) -> dict:
    """Numbers of the caller's own."""
    vector = np.random.default_rng(seed).normal(size=DIMENSION).astype("<f4")
    return {"model": MODEL, "vector": base64.b64encode(vector.tobytes()).decode(), "media": 1}


def test_a_strangers_search_tells_no_name(settings: Settings, served: Served):
    answer = served.client.post(
        f"{STAFF}/search", params={"limit": 1000}, content=photo(EVE), headers=headers(settings, "verify")
    )
    assert answer.status_code == 200
    assert answer.json()["matches"] == []
    assert not {"ada", "bob", "private"} & set(re.findall(r"\w+", answer.text)), "whole words, not letters of an id"


def test_a_match_is_told_coarsely_and_without_metadata(settings: Settings, served: Served):
    key = headers(settings, "verify")
    (match,) = served.client.post(f"{STAFF}/search", content=photo(ADA, take=2), headers=key).json()["matches"]
    assert (match["subject"], match["matched"], match["metadata"]) == ("ada", True, None)
    assert match["similarity"] == round(match["similarity"], 2)
    verified = served.client.post(f"{STAFF}/subjects/ada/verify", content=photo(ADA, take=2), headers=key).json()
    assert verified["matched"]
    for score in ("similarity", "probability"):
        assert verified[score] == round(verified[score], 2)


def test_without_a_match_there_is_no_score(settings: Settings, served: Served):
    key = headers(settings, "verify", "analyze")
    answer = served.client.post(f"{STAFF}/subjects/ada/verify", content=photo(EVE), headers=key).json()
    assert (answer["matched"], answer["similarity"], answer["probability"]) == (False, None, None)


@pytest.mark.parametrize("roles", [("verify", "enrol"), ("verify", "templates"), ("admin",)])
def test_keys_that_may_more_see_scores(settings: Settings, served: Served, roles: tuple[Role, ...]):
    key = headers(settings, *roles)
    matches = served.client.post(f"{STAFF}/search", content=photo(EVE), headers=key).json()["matches"]
    assert {match["subject"] for match in matches} == {"ada", "bob"}
    assert matches[0]["metadata"]["note"].startswith("private")
    answer = served.client.post(f"{STAFF}/subjects/ada/verify", content=photo(EVE), headers=key).json()
    assert answer["similarity"] is not None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{STAFF}/subjects/ada/verify", {"template": template()}),
        (f"{STAFF}/search", {"template": template()}),
        ("/v1/compare", {"templates": [template(1), template(2)]}),
    ],
)
def test_numbers_of_ones_own_need_a_role(settings: Settings, served: Served, path: str, body: dict):
    for roles in (("verify",), ("verify", "enrol", "analyze")):
        refused = served.client.post(path, json=body, headers=headers(settings, *roles))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert "templates" in refused.json()["detail"]
    for roles in (("verify", "templates"), ("admin",)):
        assert served.client.post(path, json=body, headers=headers(settings, *roles)).status_code == 200
    form = served.client.post(
        path, data={"template": json.dumps(template())}, files={"p": photo(ADA)}, headers=headers(settings, "verify")
    )
    assert form.status_code == 403


def test_looser_rates_than_the_servers_are_refused(settings: Settings, served: Served):
    key = headers(settings, "verify")
    for path, rate, setting in (
        (f"{STAFF}/subjects/ada/verify", "far", "FACE_FAR"),
        (f"{STAFF}/search", "fpir", "FACE_FPIR"),
        ("/v1/compare", "far", "FACE_FAR"),
    ):
        refused = served.client.post(path, params={rate: 0.4}, content=photo(ADA), headers=key)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
        assert setting in refused.json()["detail"]


def test_one_person_is_not_tried_for_ever(tmp_path: Path):
    """The limit is the subject's, whichever keys ask, and the collection's for searches."""
    settings = Settings(data_dir=tmp_path, api_keys="on", probes_per_minute=5)
    with people_served(settings) as served:
        admin = headers(settings, "admin")
        served.client.put(STAFF, headers=admin)
        for name, person in (("ada", ADA), ("bob", BOB)):
            url = f"{STAFF}/subjects/{name}/media"
            served.client.post(url, params={"create": True}, content=photo(person), headers=admin)
        keys = [headers(settings, "verify") for _ in range(2)]

        def ask(path: str, key: dict[str, str]) -> httpx.Response:
            return served.client.post(f"{STAFF}/{path}", content=photo(EVE), headers=key)

        for path in ("subjects/ada/verify", "search"):
            assert [ask(path, keys[number % 2]).status_code for number in range(5)] == [200] * 5
            refused = ask(path, keys[0])
            assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert ask(path, admin).status_code == 200
        assert ask("subjects/bob/verify", keys[0]).status_code == 200
