"""Bodies of JSON without photos: what is no JSON, is sent as something else, or has a value of another type."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, is_problem

STAFF = "/v1/collections/staff"
ADA = STAFF + "/subjects/ada"
JSON_CALLS = (("PUT", STAFF), ("PUT", ADA), ("POST", ADA + "/rename"), ("POST", STAFF + "/merge"), ("POST", "/v1/keys"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("json"))) as running:
        running.client.put(STAFF).raise_for_status()
        running.client.put(ADA).raise_for_status()
        yield running


def sent(served: Served, method: str, path: str, body: bytes, kind: str | None = "application/json") -> httpx.Response:
    return served.client.request(method, path, content=body, headers={"Content-Type": kind} if kind else {})


@pytest.mark.parametrize(("method", "path"), JSON_CALLS)
@pytest.mark.parametrize(
    "body", [b"{", b"{'name': 1}", b'{"name": "\xff"}', b'{"a": ' + b"[" * 100_000, b"\xff\xd8\xff"]
)
def test_what_is_no_json_is_told_so(served: Served, method: str, path: str, body: bytes) -> None:
    answer = is_problem(sent(served, method, path, body), 400, "invalid_json")
    assert "\ufffd" not in answer["detail"]


def test_where_the_json_ends_to_be_json_is_told(served: Served) -> None:
    answer = is_problem(sent(served, "PUT", STAFF, b'{"keep_photos": yes}'), 400, "invalid_json")
    assert answer["detail"] == "at character 16: Expecting value"


@pytest.mark.parametrize(("method", "path"), JSON_CALLS)
@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_json_that_is_sent_as_something_else(served: Served, method: str, path: str, kind: str | None) -> None:
    """`curl -d` says that it sends a form."""
    answer = is_problem(sent(served, method, path, b'{"name": "a"}', kind), 415, "unsupported_content_type")
    assert answer["detail"] == "send it as application/json"


@pytest.mark.parametrize(("method", "path"), JSON_CALLS)
def test_json_that_is_no_object(served: Served, method: str, path: str) -> None:
    answer = is_problem(sent(served, method, path, b"[]"), 422, "invalid_request")
    assert answer["detail"] == "body: a JSON object is needed"


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "/v1/collections/new", {"keep_photos": "yes"}, "keep_photos"),
        ("PUT", "/v1/collections/new", {"keep_photos": 1}, "keep_photos"),
        ("PUT", "/v1/collections/new", {"reject_below": True}, "reject_below"),
        ("PUT", "/v1/collections/new", {"ttl": "60"}, "ttl"),
        ("PUT", ADA, {"ttl": True}, "ttl"),
        ("PUT", ADA, {"metadata": []}, "metadata"),
        ("POST", "/v1/keys", {"label": "a", "roles": ["verify"], "expires": True}, "expires"),
        ("POST", "/v1/keys", {"label": "a", "roles": ["verify"], "rate": "5"}, "rate"),
        ("POST", "/v1/keys", {"label": "a", "roles": ["verify", "root"]}, "roles.1"),
        ("POST", "/v1/keys/a/rotate", {"grace": True}, "grace"),
    ],
)
def test_values_have_the_type_that_is_asked_for(
    served: Served, method: str, path: str, body: dict[str, object], field: str
) -> None:
    """`"expires": true` would make a key that ended in 1970."""
    answer = is_problem(served.client.request(method, path, json=body), 422, "invalid_request")
    assert answer["detail"].startswith(f"{field}: "), answer
    is_problem(served.client.get("/v1/collections/new"), 404, "collection_not_found")


@pytest.mark.parametrize("face", ["-1", "1e3", "biggest", "100", ""])
def test_which_face_is_told_in_one_sentence(served: Served, face: str) -> None:
    for path, words in (
        (STAFF + "/search", "'largest', 'only', 'all' or a number from 0 to 99"),
        (ADA + "/verify", "'largest', 'only' or a number from 0 to 99"),
    ):
        answer = is_problem(served.client.post(path, params={"face": face}, content=photo(1)), 422, "invalid_request")
        assert answer["detail"] == f"face: Input should be {words}"
        assert answer["errors"] == [{"loc": ["query", "face"], "type": "choice", "msg": f"Input should be {words}"}]


def test_a_missing_header_is_called_a_header(served: Served) -> None:
    answer = is_problem(served.client.post(STAFF + "/import", content=b"x"), 422, "invalid_request")
    assert answer["detail"] == "header face-passphrase: Field required"
