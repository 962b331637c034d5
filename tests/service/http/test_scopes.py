"""Every endpoint with every role, and with keys that see some collections only; other products' APIs among them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from service.http.auth import COLLECTION, ENDPOINTS
from service.http.compat.endpoints import (
    COMPREFACE_ENDPOINTS,
    REKOGNITION,
    REKOGNITION_ENDPOINTS,
    STATIC_IMAGE,
    api_of,
)
from service.keys import ROLES
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64, is_problem, serve

NAMES = {"collection": "staff", "subject": "ada", "medium": "m", "job_id": "0" * 32, "key": "0" * 12, "image_id": "x"}
IN_PATH = "KEY"
"""Stands for the key in the paths that hold it."""
NAMES["api_key"] = IN_PATH
BOTH = "/embeddings/"
"""In the paths of endpoints that need `verify` beside the role in the table."""
GUARDED = [row for row in ENDPOINTS if row[2] != "nothing"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        data_dir=tmp_path_factory.mktemp("scopes"), api_keys="on", upload_timeout=5, compat="compreface,rekognition"
    )


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    """The API with two collections."""
    with people_served(settings) as running:
        admin = header(settings, ["admin"])
        for name in ("staff", "guests"):
            url = f"/v1/collections/{name}"
            running.client.put(url, headers=admin).raise_for_status()
            media = f"{url}/subjects/ada/media"
            running.client.post(media, params={"create": True}, content=photo(1), headers=admin).raise_for_status()
        yield running


def header(settings: Settings, roles: list, collections: tuple[str, ...] = ()) -> dict[str, str]:
    with open_keys(settings) as keys:
        return {"X-API-Key": keys.create("test", roles, collections=collections)[1]}


def status(path: str, answer: httpx.Response) -> int:
    """Return 401, 403 or another status of an answer, whichever API it is of."""
    if api_of(path) == "compreface" and answer.status_code >= 400:
        return {20: 401, 10: 401, 1: 403}.get(answer.json()["code"], answer.status_code)
    if api_of(path) == "rekognition" and answer.status_code >= 400:
        kinds = {"UnrecognizedClientException": 401, "AccessDeniedException": 403}
        return kinds.get(answer.json()["__type"], answer.status_code)
    return answer.status_code


def call(served: Served, method: str, path: str, key: dict[str, str]) -> httpx.Response:
    """Call an endpoint with a key, presented as callers of its API do."""
    if api_of(path) == "rekognition":
        headers = {"X-Amz-Target": f"RekognitionService.{path.rpartition('/')[2]}"}
        if key:
            headers["X-Amz-Security-Token"] = key["X-API-Key"]
        return served.client.request(method, REKOGNITION, headers=headers, content=b"{}")
    return served.client.request(method, path.replace(IN_PATH, key.get("X-API-Key", "none")), headers=key)


@pytest.mark.parametrize("role", ROLES)
def test_every_endpoint_needs_its_role(settings: Settings, served: Served, role: str):
    everywhere = header(settings, [role])
    elsewhere = header(settings, [role], ("nobody",))  # as a CompreFace service: nothing is to be deleted here
    for method, path, needs, _ in GUARDED:
        key = elsewhere if api_of(path) == "compreface" else everywhere
        names = NAMES | ({"collection": "none"} if method == "DELETE" else {})  # nothing is to be deleted here
        url = path.format(**names).replace("*", "x")
        assert status(path, call(served, method, url, {})) == 401, (method, path)
        found = status(path, call(served, method, url, key))
        allowed = needs == "any key" or role == "admin" or (role == needs and BOTH not in path)
        assert (found == 403) is not allowed, (method, path, found)
        assert found != 401, (method, path)


def test_sending_vectors_to_another_products_api_needs_both_roles(settings: Settings, served: Served):
    for roles, allowed in ((["verify"], False), (["templates"], False), (["templates", "verify"], True)):
        key = header(settings, roles, ("guests",))
        for method, path, _, _ in COMPREFACE_ENDPOINTS:
            if BOTH in path:
                found = status(path, call(served, method, path.format(**NAMES), key))
                assert (found != 403) is allowed, (path, roles)


@pytest.mark.parametrize("role", ["verify", "enrol", "admin"])
def test_another_collection_is_not_there_for_rekognitions_callers(settings: Settings, served: Served, role: str):
    key = header(settings, [role], ("guests",))
    body = {
        "CollectionId": "staff", "Image": {"Bytes": b64(photo(1))}, "FaceId": "x", "FaceIds": ["x"], "UserId": "ada",
    }  # fmt: skip
    for _, path, needs, _ in REKOGNITION_ENDPOINTS:
        name = path.rpartition("/")[2]
        if (role != "admin" and needs != role) or name in ("DetectFaces", "CompareFaces", "ListCollections"):
            continue
        headers = {"X-Amz-Target": f"RekognitionService.{name}", "X-Amz-Security-Token": key["X-API-Key"]}
        answer = served.client.post(REKOGNITION, headers=headers, json=body)
        assert (answer.status_code, answer.json()["__type"]) == (400, "ResourceNotFoundException"), name
    admin = header(settings, ["admin"])
    assert served.client.get("/v1/collections/staff/subjects/ada", headers=admin).status_code == 200


@pytest.mark.parametrize("collections", [(), ("guests", "others"), ("guest*",)])
def test_a_compreface_service_has_one_collection(settings: Settings, served: Served, collections: tuple[str, ...]):
    key = header(settings, ["admin"], collections)
    for method, path, _, _ in COMPREFACE_ENDPOINTS:
        if path.startswith("/api/v1/recognition") or path == STATIC_IMAGE:
            answer = call(served, method, path.format(**NAMES), key)
            assert (answer.status_code, answer.json()["code"]) == (400, 13), (method, path)
    admin = header(settings, ["admin"])
    assert served.client.get("/v1/collections/guests/subjects/ada", headers=admin).status_code == 200


def test_other_products_apis_are_not_served_unless_they_are_named(tmp_path: Path):
    with serve(Settings(data_dir=tmp_path)) as bare:
        for method, path, _, _ in (*COMPREFACE_ENDPOINTS, *REKOGNITION_ENDPOINTS):
            is_problem(bare.client.request(method, path.format(**NAMES)), 404, "not_found")
        is_problem(bare.client.post(REKOGNITION, headers={"X-Amz-Target": "x.DetectFaces"}), 404, "not_found")


@pytest.mark.parametrize("collections", [("guests",), ("guest*", "others")])
@pytest.mark.parametrize("role", ["verify", "enrol", "admin"])
def test_another_collection_is_as_if_it_were_not_there(
    settings: Settings, served: Served, role: str, collections: tuple[str, ...]
):
    key = header(settings, [role], collections)
    for method, path, needs, _ in GUARDED:
        if not path.startswith(COLLECTION) or (role != "admin" and needs != role):
            continue
        answer = served.client.request(method, path.format(**NAMES), headers=key)
        assert (answer.status_code, answer.json()["code"]) == (404, "collection_not_found"), (method, path)
    admin = header(settings, ["admin"])
    assert served.client.get("/v1/collections/staff/subjects/ada", headers=admin).status_code == 200


def test_a_scoped_key_uses_and_lists_its_own(settings: Settings, served: Served):
    key = header(settings, ["enrol", "verify"], ("guests",))
    listed = served.client.get("/v1/collections", headers=key).json()["collections"]
    assert [collection["name"] for collection in listed] == ["guests"]
    found = served.client.post("/v1/collections/guests/search", content=photo(1, take=2), headers=key)
    assert found.json()["matches"][0]["subject"] == "ada"
    admin = header(settings, ["admin"])
    everything = served.client.get("/v1/collections", headers=admin).json()["collections"]
    assert {collection["name"] for collection in everything} == {"staff", "guests"}


def test_a_scoped_admin_makes_no_keys_and_merges_nothing_foreign(settings: Settings, served: Served):
    key = header(settings, ["admin"], ("guests", "g2"))
    for method, path, body in (
        ("GET", "/v1/keys", None),
        ("POST", "/v1/keys", {"label": "mine", "roles": ["admin"]}),
        ("POST", "/v1/keys/000000000000/rotate", {}),
        ("DELETE", "/v1/keys/000000000000", None),
    ):
        answer = served.client.request(method, path, json=body, headers=key)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path)
    merged = served.client.post("/v1/collections/guests/merge", json={"source": "staff"}, headers=key)
    assert (merged.status_code, merged.json()["code"]) == (404, "collection_not_found")
    assert served.client.put("/v1/collections/g2", headers=key).status_code == 201


def test_keys_over_http(settings: Settings, served: Served):
    admin = header(settings, ["admin"])
    body = {"label": "gate", "roles": ["verify"], "collections": ["guests"], "expires": 4e9}
    made = served.client.post("/v1/keys", json=body, headers=admin)
    assert made.status_code == 201
    assert (made.json()["collections"], made.json()["expires"]) == (["guests"], 4e9)
    old = {"X-API-Key": made.json()["key"]}
    search = "/v1/collections/guests/search"
    assert served.client.post(search, content=photo(1), headers=old).status_code == 200
    rotated = served.client.post(f"/v1/keys/{made.json()['id']}/rotate", headers=admin)
    assert rotated.status_code == 200
    assert served.client.post(search, content=photo(1), headers=old).status_code == 401
    new = {"X-API-Key": rotated.json()["key"]}
    assert served.client.post(search, content=photo(1), headers=new).status_code == 200
    (listed,) = [
        key for key in served.client.get("/v1/keys", headers=admin).json()["keys"] if key["id"] == made.json()["id"]
    ]
    assert listed["last_used"] is not None
    assert "key" not in listed
    assert served.client.delete(f"/v1/keys/{listed['id']}", headers=admin).status_code == 204
    assert served.client.post(search, content=photo(1), headers=new).status_code == 401
    for bad in ({"expires": 5}, {"collections": ["*"]}, {"roles": []}, {"collections": ["a/b"]}):
        refused = served.client.post("/v1/keys", json=body | bad, headers=admin)
        assert refused.status_code == 422, bad
