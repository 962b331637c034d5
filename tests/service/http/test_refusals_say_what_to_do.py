"""What a refusal says: what was wrong with this request, and what to do instead."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64, is_problem

STAFF = "/v1/collections/staff"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("words"))) as running:
        running.client.put(STAFF).raise_for_status()
        yield running


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("GET /v1/collections/café HTTP/1.1", "as %XX"),
        ("BREW / HTTP/1.1", "Invalid method encountered"),
        ("GET /v1/collections/a b HTTP/1.1", "Expected HTTP/"),
    ],
)
def test_a_request_that_cannot_be_parsed(served: Served, line: str, words: str) -> None:
    """`curl …/subjects/Zoë` sends the letter as it is."""
    address = urlsplit(served.url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(f"{line}\r\nHost: {address.netloc}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 400 ")
    assert '"code": "invalid_http"' in answer
    assert words in answer
    assert "/caf" not in answer


def test_a_method_or_a_path_that_is_not_there(served: Served) -> None:
    answer = is_problem(served.client.get("/v1/faces"), 405, "method_not_allowed")
    assert answer["detail"] == "this path takes POST"
    answer = is_problem(served.client.post("/v1/faces/"), 404, "not_found")
    assert answer["detail"] == "there is no such path or operation; /docs lists all"


def test_a_first_enrolment_that_does_not_say_create(served: Served) -> None:
    answer = served.client.post(f"{STAFF}/subjects/new/media", content=photo(1))
    assert "create=true" in is_problem(answer, 404, "subject_not_found")["detail"]


def test_a_face_that_is_not_there(served: Served) -> None:
    answer = served.client.post(f"{STAFF}/search?face=7", content=photo(1))
    assert is_problem(answer, 422, "no_such_face")["detail"] == "faces in the photo: 1, counted from 0"


def test_a_photo_without_a_byte(served: Served) -> None:
    assert is_problem(served.client.post("/v1/faces"), 422, "no_image")["detail"] == "the image is empty"


def test_a_number_that_is_too_large(served: Served) -> None:
    body = f'{{"image": "{b64(photo(1))}", "min_size": 1e400}}'.encode()
    answer = served.client.post("/v1/faces", content=body, headers={"Content-Type": "application/json"})
    assert is_problem(answer, 422, "invalid_request")["detail"] == "min_size: a number is too large"


def test_a_collection_is_not_merged_into_itself_under_another_spelling(served: Served) -> None:
    served.client.put("/v1/collections/caf%C3%A9").raise_for_status()
    answer = served.client.post("/v1/collections/caf%C3%A9/merge", json={"source": "cafe\u0301"})
    assert "merged into itself" in is_problem(answer, 422, "invalid_request")["detail"]
