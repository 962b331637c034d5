"""Requests that cannot be sent: each method raises FaceError, which says why and holds nothing of the request."""

from __future__ import annotations

import asyncio
import socket

import pytest

from service.client import AsyncClient, Client, FaceError

ANYWHERE = "http://127.0.0.1:1"
SECRET = "face_0123456789ab_sécret"


def refused(url: str, key: str | None = None, **metadata: str) -> FaceError:
    with Client(url, key, retries=0) as faces, pytest.raises(FaceError) as blocking:
        faces.put_subject("staff", "ada", metadata=dict(metadata))

    async def work() -> None:
        async with AsyncClient(url, key, retries=0) as faces:
            await faces.put_subject("staff", "ada", metadata=dict(metadata))

    with pytest.raises(FaceError) as awaited:
        asyncio.run(work())
    assert awaited.value.code == blocking.value.code
    return blocking.value


@pytest.mark.parametrize("url", ["http://a:x", "http://\x00", "ftp://a.example", "127.0.0.1:8000", ""])
def test_what_is_no_url_of_a_server(url: str) -> None:
    error = refused(url)
    assert (error.status, error.code) == (0, "invalid_url")
    assert "is not the URL of a server, like http://127.0.0.1:8000" in error.detail


@pytest.mark.parametrize("key", [SECRET, "face_0123456789ab_secret\n", "face_0123456789ab_secret\r"])
def test_a_key_that_no_header_holds(key: str) -> None:
    """`FACE_KEY` from a file with the line's end of Windows; the server was said not to be reached."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error = refused(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
    assert (error.status, error.code) == (0, "not_sent")
    assert "cret" not in error.detail


def test_half_a_character() -> None:
    assert refused(ANYWHERE, note="\ud800").code == "not_sent"
    with Client(ANYWHERE) as faces, pytest.raises(FaceError) as error:
        faces.subject("staff", "\ud800")
    assert error.value.code == "invalid_name"


def test_an_idempotency_key_may_have_any_letters() -> None:
    with Client(ANYWHERE, retries=0) as faces, pytest.raises(FaceError) as error:
        faces.submit_job(b"photo", idempotency_key="Auftrag-ä")
    assert error.value.code == "unreachable", "it was tried"
