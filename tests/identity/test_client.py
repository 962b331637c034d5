"""The Python client, blocking and asyncio, against the API on a real port; the command line over it."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.__main__ import main
from service.client import AsyncClient, Client, FaceError
from service.config import Settings
from service.identity_schemas import NotEnrolled
from tests.identity.served import MODEL, people_served, photo
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


class Busy(BaseHTTPRequestHandler):
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

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def busy() -> Iterator[tuple[str, type[Busy]]]:
    handler = type("Handler", (Busy,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


def test_a_busy_server_is_asked_again_when_it_says(busy: tuple[str, type[Busy]]):
    url, server = busy
    with Client(url) as faces:
        assert faces.keys().keys == []
    waits = [b - a for a, b in zip(server.asked, server.asked[1:], strict=False)]
    assert len(waits) == 2
    assert all(wait >= 0.99 for wait in waits)


def test_patience_has_an_end(busy: tuple[str, type[Busy]]):
    url, server = busy
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


@dataclass
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


def command(*words: str, url: str = "http://127.0.0.1:1", folder: Path | None = None) -> Done:
    """Runs a command in this process."""
    told = {"FACE_URL": url} | ({"FACE_DATA_DIR": str(folder)} if folder else {})
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in told.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(words)
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def test_the_commands(served: Served, tmp_path: Path):
    for name, who in (("ada", ADA), ("bob", BOB)):
        (tmp_path / "people" / name).mkdir(parents=True)
        for take in (1, 2):
            (tmp_path / "people" / name / f"{take}.png").write_bytes(photo(who, take=take))
    (tmp_path / "people" / "bob" / "3.png").write_bytes(photo())
    probe, other = tmp_path / "probe.png", tmp_path / "other.png"
    probe.write_bytes(photo(ADA, take=9))
    other.write_bytes(photo(EVE))

    bulk = command("bulk-enrol", "staff", str(tmp_path / "people"), "--create", url=served.url)
    assert (bulk.returncode, bulk.stdout) == (1, "4 of 5 photos of 2 people are enrolled\n")
    assert "bob/3.png: No face was found" in bulk.stderr
    before = served.client.get("/v1/collections/staff/subjects/ada").json()["updated"]
    assert command("bulk-enrol", "staff", str(tmp_path / "people"), url=served.url).returncode == 1
    assert served.client.get("/v1/collections/staff/subjects/ada").json()["updated"] == before  # not sent again

    assert "one person" in command("compare", str(probe), str(probe), url=served.url).stdout
    assert "not matched" in command("compare", str(probe), str(other), url=served.url).stdout
    assert "one person" in command("verify", "staff", "ada", str(probe), url=served.url).stdout
    found = command("identify", "staff", str(probe), "--json", url=served.url)
    assert json.loads(found.stdout)["matches"][0]["subject"] == "ada"
    assert command("identify", "staff", str(probe), url=served.url).stdout.splitlines()[1].startswith("match")
    added = command("enrol", "staff", "eve", str(other), url=served.url)
    assert (added.returncode, added.stdout) == (0, "1 of 1 photos enrolled, 1 in all\n")


def test_commands_that_cannot(served: Served, tmp_path: Path):
    for words, text in (
        (("compare", "none.png", "none.png"), "none.png: No such file"),
        (("bulk-enrol", "staff", str(tmp_path / "none")), "is no folder"),
        (("bulk-enrol", "staff", str(tmp_path)), "no photos in"),
        (("keys", "revoke", "none"), "no such key"),
    ):
        done = command(*words, url=served.url, folder=tmp_path / "keys")
        assert done.returncode == 1
        assert text in done.stderr
        assert "Traceback" not in done.stderr
    photo_file = tmp_path / "a.png"
    photo_file.write_bytes(photo(ADA))
    assert "cannot be reached" in command("compare", str(photo_file), str(photo_file)).stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path):
    made = command(
        "keys", "create", "front door", "--role", "verify", "--role", "analyze", "--rate", "5", folder=tmp_path
    )
    assert made.stdout.startswith("face_")
    identity = made.stdout.split("_")[1]
    listed = command("keys", "list", folder=tmp_path).stdout
    assert identity in listed
    assert "analyze,verify  5/s, 20 at once  front door" in listed
    assert made.stdout.split("_", 2)[2].strip() not in listed
    assert command("keys", "revoke", identity, folder=tmp_path).returncode == 0
    assert command("keys", "list", folder=tmp_path).stdout == ""
    assert command("keys", "create", "", "--role", "verify", folder=tmp_path).returncode == 1
