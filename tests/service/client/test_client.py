"""The Python client, blocking and asyncio, against the API on a real port; the command line over it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import AsyncClient, Client, FaceError
from service.config import Settings
from service.schemas.enrolment import NotEnrolled
from tests.service.gallery.served import MODEL, people_served, photo
from tests.service.listening import QuietHandler, listening
from tests.service.serving import Served

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path / "data")) as running:
        yield running


def test_everything_a_caller_does(served: Served):
    with Client(served.url) as faces:
        assert faces.put_collection("staff", keep_photos=True).policy.keep_photos
        faces.put_subject("staff", "ada", {"team": 7})
        answer = faces.enrol("staff", "ada", [photo(ADA), photo(ADA, take=2), photo()])
        assert isinstance(answer.photos[2], NotEnrolled)
        assert answer.photos[2].error.code == "no_face"
        faces.enrol("staff", "bob", [photo(BOB)], create=True)
        assert faces.verify("staff", "ada", photo(ADA, take=3)).matched
        assert not faces.verify("staff", "ada", photo(EVE), far=1e-4).matched
        assert [m.subject for m in faces.search("staff", photo(BOB, take=2), limit=1).matches] == ["bob"]
        assert faces.search("staff", [photo(BOB, take=3), photo(BOB, take=4)]).matches[0].matched
        token = faces.template([photo(ADA, take=5)]).template
        assert faces.compare(token, token).similarity == pytest.approx(1)
        assert faces.compare(token, photo(ADA)).matched
        assert not faces.compare(photo(BOB), photo(ADA)).matched
        assert faces.verify("staff", "ada", token).matched
        assert sorted(subject.id for subject in faces.subjects("staff")) == ["ada", "bob"]
        medium = faces.subject("staff", "ada").media[0].id
        assert len(faces.delete_medium("staff", "ada", medium).media) == 1
        file = faces.export("staff", "correct horse")
        assert faces.import_("copy", file, "correct horse").subjects == 2
        assert faces.merge("staff", "copy").subjects == 2
        assert faces.re_enrol("copy").done
        assert faces.delete_subject("staff", "ada").media == 1
        assert faces.delete_collection("copy").subjects == 2
        assert [c.name for c in faces.collections()] == ["staff"]
        key = faces.create_key("door", ["verify"], rate=2)
        assert [k.label for k in faces.keys().keys] == ["door"]
        faces.revoke_key(key.id)
        assert faces.keys().keys == []
        with pytest.raises(FaceError) as refusal:
            faces.subject("staff", "ada")
        assert (refusal.value.status, refusal.value.code) == (404, "subject_not_found")
        assert refusal.value.request_id


def test_the_same_for_asyncio(served: Served):
    async def work() -> None:
        async with AsyncClient(served.url) as faces:
            await faces.put_collection("staff")
            people = {"ada": ADA, "bob": BOB, "eve": EVE}
            enrolled = [faces.enrol("staff", name, [photo(who)], create=True) for name, who in people.items()]
            assert [answer.model for answer in await asyncio.gather(*enrolled)] == [MODEL] * 3
            found = await asyncio.gather(*(faces.search("staff", photo(who, take=2)) for who in people.values()))
            assert [answer.matches[0].subject for answer in found] == list(people)
            assert sorted([subject.id async for subject in faces.subjects("staff")]) == sorted(people)
            assert [c.subjects async for c in faces.collections()] == [3]
            with pytest.raises(FaceError) as refusal:
                await faces.verify("staff", "nobody", photo(ADA))
            assert refusal.value.code == "subject_not_found"

    asyncio.run(work())


class Busy(QuietHandler):
    """Says 429 twice, then answers; notes when it was asked."""

    asked: list[float]
    hint = "1"

    def do_GET(self) -> None:
        self.asked.append(time.monotonic())
        busy = len(self.asked) < 3
        body = b'{"code": "queue_full", "detail": "full"}' if busy else b'{"keys": []}'
        self.send_response(429 if busy else 200)
        if busy:
            self.send_header("Retry-After", self.hint)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def busy() -> Iterator[tuple[str, type[Busy]]]:
    handler = type("Handler", (Busy,), {"asked": []})
    with listening(handler) as host:
        yield f"http://{host}", handler


@pytest.mark.slow
def test_a_busy_server_is_asked_again_when_it_says(busy: tuple[str, type[Busy]]):
    url, server = busy
    with Client(url) as faces:
        assert faces.keys().keys == []
    waits = [b - a for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert len(waits) == 2
    assert all(wait >= 0.99 for wait in waits)


def test_patience_has_an_end(busy: tuple[str, type[Busy]]):
    url, server = busy
    server.hint = "0"
    with Client(url, retries=1) as faces, pytest.raises(FaceError) as refusal:
        faces.keys()
    assert (refusal.value.status, refusal.value.code, len(server.asked)) == (429, "queue_full", 2)
    server.hint = "86400"
    server.asked.clear()
    with Client(url) as faces, pytest.raises(FaceError):
        faces.keys()
    assert len(server.asked) == 1


def test_no_server_and_no_answer_of_ours(busy: tuple[str, type[Busy]]):
    with Client("http://127.0.0.1:1") as faces, pytest.raises(FaceError) as refusal:
        faces.keys()
    assert (refusal.value.status, refusal.value.code) == (0, "unreachable")
    url, server = busy
    server.asked += [0.0, 0.0]
    with Client(url) as faces, pytest.raises(FaceError) as refusal:
        next(iter(faces.collections()))
    assert refusal.value.code == "not_understood"
