"""Names of people and collections as callers have them: found again under the same URL, or refused in words."""

from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.client.client import Client, FaceError
from service.config import Settings
from service.gallery.checks import clean_name
from service.gallery.errors import InvalidName
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "a.b",
        "100 %",
        "%41",
        "%2F",
        "?x=1",
        "#top",
        "\\",
        "CORP\\ada",
        "ada@example.org",
        "a b",
        " ",
        "...",
        "~",
        "+",
        ";",
        "名前",
    ]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("names"))) as running:
        running.client.put("/v1/collections/staff").raise_for_status()
        yield running


def clean(name: str) -> str | None:
    """Return the name as it is stored, None for one that is refused."""
    try:
        return clean_name(name)
    except InvalidName:
        return None


@pytest.mark.timeout(600)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=NAMES)
@example(name="x" * 256)
@example(name="x" * 257)
@example(name="ü" * 128)
@example(name="..")
@example(name=".")
@example(name="")
@example(name="a/b")
@example(name="%2e%2e")
def test_a_name_is_taken_and_found_again_or_refused_in_words(served: Served, name: str):
    with Client(served.url) as faces:
        stored = clean(name)
        if stored is None:
            for call in (faces.put_collection, lambda n: faces.put_subject("staff", n)):
                with pytest.raises(FaceError) as refused:
                    call(name)
                assert refused.value.code == "invalid_name"
            return
        assert faces.put_collection(name).name == stored
        assert faces.put_subject(name, name, {"of": name}).id == stored
        faces.enrol(name, name, [photo(7)])
        assert faces.subject(name, name).metadata == {"of": name}
        assert [s.id for s in faces.subjects(name)] == [stored]
        assert stored in [c.name for c in faces.collections()]
        assert faces.verify(name, name, photo(7, take=2)).subject == stored
        assert [m.subject for m in faces.search(name, photo(7, take=2)).matches] == [stored]
        assert faces.delete_subject(name, name).media == 1
        assert faces.delete_collection(name).subjects == 0
        assert [c.name for c in faces.collections()] == ["staff"]


@pytest.mark.parametrize(
    "name", ["a/b", "/", "..", ".", "subjects/ada", "ada/media", "\x00", "a\nb", "x" * 257, "é" * 129]
)
def test_by_hand_too_such_a_name_never_becomes_another_resource(served: Served, name: str):
    """Quoted to the last byte, as a careful caller would, where the client would not even ask."""
    client = served.client
    client.put("/v1/collections/staff/subjects/ada")
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    for method, path in (
        ("PUT", quoted), ("DELETE", quoted), ("PUT", f"staff/subjects/{quoted}"), ("GET", f"staff/subjects/{quoted}"),
        ("DELETE", f"staff/subjects/{quoted}"),
    ):  # fmt: skip
        url = httpx.URL(served.url).copy_with(raw_path=f"/v1/collections/{path}".encode())
        answer = client.request(method, url)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_name"), (method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert client.get("/v1/collections/staff/subjects/ada").status_code == 200
    assert [c["name"] for c in client.get("/v1/collections").json()["collections"]] == ["staff"]


def test_a_name_that_is_no_utf8_is_an_error_of_the_caller(served: Served):
    url = httpx.URL(served.url).copy_with(raw_path=b"/v1/collections/%FF%FE")
    answer = served.client.put(url)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_name"


def test_two_ways_to_write_one_letter_are_one_name(served: Served):
    composed, decomposed = "zo\u00eb", "zoe\u0308"
    statuses = [
        served.client.put(f"/v1/collections/staff/subjects/{quote(name)}").status_code
        for name in (composed, decomposed)
    ]
    assert statuses == [201, 200]
    names = {s["id"] for s in served.client.get("/v1/collections/staff/subjects").json()["subjects"]}
    assert composed in names
    assert decomposed not in names
