"""Requests of every shape: smuggled ones, paths, queries, JSON of any depth; an error each, and never one of ours."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.config import Settings
from service.http.auth import ENDPOINTS
from tests.service.gallery.served import people_served, photo
from tests.service.http.raw import connect, head
from tests.service.serving import Served

JSON = {"Content-Type": "application/json"}
NAMES = {"collection": "staff", "subject": "ada", "medium": "m", "key": "0" * 12, "job": "none"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("hostile")
    with people_served(Settings(data_dir=folder, head_timeout=0.3, upload_timeout=0.5, timeout=5)) as running:
        running.client.put("/v1/collections/staff")
        enrolled = "/v1/collections/staff/subjects/ada/media?create=true"
        assert running.client.post(enrolled, content=photo(1)).status_code in (200, 201)
        yield running
        assert running.client.get("/livez").status_code == 200
        assert running.client.get("/v1/collections/staff/subjects").json()["damaged"] == []


def answers(served: Served, sent: bytes) -> list[int]:
    """The statuses of all answers to what is sent, until the server hangs up."""
    with connect(served.url, timeout=8) as connection:
        received = b""
        try:
            connection.sendall(sent)
            while part := connection.recv(65536):
                received += part
        except (ConnectionError, TimeoutError):
            pass
    return [int(line[9:12]) for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


# -- one request inside another ---------------------------------------------------------------------------------------

INNER = head("GET /livez", Connection="close")
CHUNKED = b"0\r\n\r\n" + INNER


def post(*lines: str) -> bytes:
    return "\r\n".join(["POST /v1/compare HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode("latin-1")


SMUGGLED = {
    "length and chunks": post(f"Content-Length: {len(CHUNKED)}", "Transfer-Encoding: chunked") + CHUNKED,
    "chunks and length": post("Transfer-Encoding: chunked", "Content-Length: 5") + CHUNKED,
    "two lengths": post("Content-Length: 0", f"Content-Length: {len(INNER)}") + INNER,
    "two lengths in one": post(f"Content-Length: 0, {len(INNER)}") + INNER,
    "a sign": post(f"Content-Length: +{len(INNER)}") + INNER,
    "hexadecimal": post(f"Content-Length: 0x{len(INNER):x}") + INNER,
    "a negative length": post("Content-Length: -1") + INNER,
    "an endless length": post("Content-Length: 99999999999999999999999") + INNER,
    "spaces in a length": post("Content-Length: 1 0") + INNER,
    "a space before the colon": post(f"Content-Length : {len(INNER)}") + INNER,
    "a folded line": post("X-A: b", f" Content-Length: {len(INNER)}") + INNER,
    "not quite chunked": post("Transfer-Encoding: xchunked") + CHUNKED,
    "chunked, and something after": post("Transfer-Encoding: chunked, identity") + CHUNKED,
    "chunked by an odd letter": post("Transfer-Encoding: \x0bchunked") + CHUNKED,
    "chunked twice": post("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + CHUNKED,
    "a chunk's size with a sign": post("Transfer-Encoding: chunked") + b"-1\r\n" + INNER,
    "a chunk's size that wraps around": post("Transfer-Encoding: chunked") + b"1" + b"0" * 16 + b"\r\n" + INNER,
    "a chunk's size with 0x": post("Transfer-Encoding: chunked") + b"0x0\r\n\r\n" + INNER,
    "a chunk longer than it says": post("Transfer-Encoding: chunked") + b"1\r\nabc\r\n0\r\n\r\n" + INNER,
    "a header of a line feed alone": b"POST /v1/compare HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 5\n\n" + INNER,
    "a carriage return in a value": post("X-A: b\rContent-Length: 0") + INNER,
    "a NUL in a value": post("X-A: b\0") + INNER,
    "a name that is none": post("X A: b", "Content-Length: 0") + INNER,
}


@pytest.mark.parametrize("way", SMUGGLED)
def test_no_request_hides_in_another(served: Served, way: str) -> None:
    statuses = answers(served, SMUGGLED[way])
    assert statuses, "a connection that is closed without an answer tells nobody why"
    assert statuses[0] >= 400
    assert 200 not in statuses
    assert max(statuses) < 500


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=3)), min_size=1, max_size=4))
def test_a_damaged_head_is_answered_or_cut_off(served: Served, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(head("POST /v1/faces", Content_Type="image/png", Content_Length=3, Connection="close") + b"abc")
    for place, value in changes:
        at = place % len(data)
        data[at : at + 1] = value
    assert all(status < 500 for status in answers(served, bytes(data) + b"\r\n\r\n\r\n"))


# -- paths and queries ------------------------------------------------------------------------------------------------

LETTERS = st.one_of(
    st.text(max_size=20).map(lambda text: quote(text, safe="")),
    st.sampled_from(
        ["..", ".", "%2e%2e", "%2f", "%00", "%0a", "%ff", "%ed%a0%80", "%", "%zz", "%u0041", ";", "*", "{x}"]
    ),
    st.binary(max_size=10).map(quote),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "PUT", "DELETE", "POST"]), names=st.tuples(LETTERS, LETTERS), query=LETTERS)
def test_whatever_stands_in_a_path_or_query(served: Served, method: str, names: tuple[str, str], query: str) -> None:
    path = f"/v1/collections/{names[0] or 'x'}/subjects/{names[1] or 'x'}?limit={query}&{query}={query}"
    with connect(served.url) as connection:
        connection.sendall(head(f"{method} {path}", Content_Length=0, Connection="close"))
        answer = connection.recv(65536)
    assert 200 <= int(answer[9:12]) < 500


def test_thousands_of_options_are_one_error(served: Served) -> None:
    for query in ("max_faces=1&" * 4000, "&" * 50_000, "a=b&" * 10_000, "max_faces=" + "9" * 50_000):
        answer = served.client.post(f"/v1/faces?{query}", content=photo(1))
        assert answer.status_code in (200, 422), query[:20]


# -- JSON -------------------------------------------------------------------------------------------------------------

DEEP = 100_000
VALUES = {
    "lists": "[" * DEEP + "]" * DEEP,
    "objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "lists that do not end": "[" * DEEP,
    "beyond every number": "1e400",
    "a number of many digits": "1" * 20_000,
    "a small number of many digits": "0." + "0" * 20_000 + "1",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "a lone surrogate": '"\\ud800"',
    "NUL": '"\\u0000"',
    "a long text": '"' + "a" * 100_000 + '"',
    "another type": "true",
    "nothing": "null",
    "no JSON": "'a'",
}
FIELDS = ("metadata", "ttl", "name", "label", "roles", "collections", "image", "images", "templates", "template",
          "max_faces", "keep_photos", "passphrase", "into", "expires", "grace")  # fmt: skip
WITH_JSON = sorted(
    {(row[0], row[1]) for row in ENDPOINTS if row[3] in ("small", "photos") and row[1].startswith("/v1/")}
)


@pytest.mark.parametrize(("method", "path"), WITH_JSON)
def test_no_value_anywhere_in_a_json_body_is_a_failure(served: Served, method: str, path: str) -> None:
    for name, value in VALUES.items():
        body = "{" + ", ".join(f'"{field}": {value}' for field in FIELDS) + "}"
        bodies = [body, value, *(f'{{"{field}": {value}}}' for field in FIELDS[:5])]
        for content in bodies:
            sent = content[:250_000].encode()
            answer = served.client.request(method, path.format(**NAMES), content=sent, headers=JSON)
            assert answer.status_code < 500, (name, content[:60], answer.text)
            json.loads(answer.content)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1", "utf-7"])
def test_json_in_other_encodings_is_read_or_refused(served: Served, encoding: str) -> None:
    body = '{"metadata": {"note": "Zoë"}}'.encode(encoding)
    url = "/v1/collections/staff/subjects/zoe"
    if served.client.put(url, content=body, headers=JSON).status_code in (200, 201):
        assert served.client.get(url).json()["metadata"]["note"] in ("Zoë", "Zo+AOs")
    else:
        assert encoding in ("latin-1", "utf-7")


def test_of_a_key_sent_twice_the_checked_value_is_the_one_that_is_stored(served: Served) -> None:
    deep = "[" * 40 + "]" * 40
    url = "/v1/collections/staff/subjects/twice"
    for body in (
        f'{{"metadata": {{}}, "metadata": {{"a": {deep}}}}}',
        f'{{"metadata": {{"a": {deep}}}, "metadata": {{}}}}',
    ):
        answer = served.client.put(url, content=body, headers=JSON)
        if answer.status_code < 300:
            assert served.client.get(url).json()["metadata"] == {}
        else:
            assert answer.status_code == 422


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"])
def test_compressed_bodies_are_not_unpacked(served: Served, coding: str) -> None:
    for path in ("/v1/faces", "/v1/jobs", "/v1/compare"):
        headers = {"Content-Encoding": coding, "Content-Type": "image/png"}
        answer = served.client.post(path, content=b"\x1f\x8b" + bytes(100), headers=headers)
        assert answer.status_code == 415
        assert answer.json()["code"] == "unsupported_content_type"


@pytest.mark.parametrize(
    "kind", ["", ";", "a" * 5000, "image/png; a=" + "b" * 5000, "multipart/form-data", "IMAGE/PNG"]
)
def test_any_content_type(served: Served, kind: str) -> None:
    answer = served.client.post("/v1/faces", content=photo(1), headers={"Content-Type": kind})
    assert answer.status_code in (200, 400, 415)
