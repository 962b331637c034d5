"""import: people move here from CompreFace, Amazon Rekognition and folders, stood for by small HTTP servers."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.service.commands.running import Done, command
from tests.service.gallery.served import photo
from tests.service.listening import QuietHandler, listening
from tests.service.serving import Served

KEY = "00000000-0000-0000-0000-000000000002"


@dataclass
class CompreFace:
    """A recognition service: its photos by (image id, subject), and the ids of those that were fetched."""

    url: str
    photos: dict[tuple[str, str], bytes | None]
    fetched: list[str] = field(default_factory=list)


@pytest.fixture
def compreface() -> Iterator[CompreFace]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path)
            if self.headers["x-api-key"] != KEY:
                return self.answer(401, b'{"message": "no such key", "code": 1}')
            if path.path.endswith("/faces"):
                query = parse_qs(path.query)
                number, size = int(query["page"][0]), min(2, int(query["size"][0]))
                rows = [{"image_id": image, "subject": subject} for image, subject in service.photos]
                pages = -(-len(rows) // size)
                page = {"faces": rows[number * size :][:size], "page_number": number, "page_size": size}
                return self.answer(200, json.dumps(page | {"total_pages": pages, "total_elements": len(rows)}).encode())
            image_id = path.path.split("/")[-2]
            service.fetched.append(image_id)
            [data] = [data for (image, _), data in service.photos.items() if image == image_id]
            return self.answer(404, b"{}") if data is None else self.answer(200, data)

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    service = CompreFace("", {})
    with listening(Handler) as host:
        service.url = f"http://{host}"
        yield service


def run(source: CompreFace, served: Served, key: str = KEY) -> Done:
    return command("import", "compreface", source.url, key, "staff", "--create", url=served.url)


def test_everybody_moves_and_a_second_run_sends_nothing(compreface: CompreFace, people_server: Served) -> None:
    compreface.photos = {
        ("image-1", "Ada"): photo(1),
        ("image-2", "Ada"): photo(1, take=2),
        ("image-3", "Bob B."): photo(2),
    }
    done = run(compreface, people_server)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 of 3 photos of 2 people are enrolled\n", "")
    subject = people_server.client.get("/v1/collections/staff/subjects/Ada").json()
    assert {medium["id"] for medium in subject["media"]} == {"image-1", "image-2"}
    compreface.fetched.clear()
    compreface.photos[("image-4", "Cyd")] = photo(3)
    assert run(compreface, people_server).stdout == "4 of 4 photos of 3 people are enrolled\n"
    assert compreface.fetched == ["image-4"], "what is here already is not fetched again"


def test_what_cannot_be_moved_is_listed_with_the_reason(compreface: CompreFace, people_server: Served) -> None:
    compreface.photos = {
        ("image-1", "Ada"): photo(1),
        ("image-2", "Ada"): photo(),
        ("image-3", "Bob"): None,
        ("image-4", "a/b"): photo(2),
    }
    done = run(compreface, people_server)
    assert (done.returncode, done.stdout) == (1, "1 of 4 photos of 3 people are enrolled\n")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("allinone-face: Ada, image image-2: No face")
    assert lines[1] == "allinone-face: Bob, image image-3: CompreFace answered 404"
    assert lines[2].startswith("allinone-face: a/b, image image-4: a name is not empty")


def test_a_source_that_does_not_answer_as_it_should(compreface: CompreFace, people_server: Served) -> None:
    wrong = run(compreface, people_server, key="another")
    assert (wrong.returncode, "answered 401: is the key one of a recognition service" in wrong.stderr) == (1, True)
    words = ("import", "compreface", "http://127.0.0.1:1", KEY, "staff")
    absent = command(*words, url=people_server.url)
    assert (absent.returncode, "http://127.0.0.1:1 cannot be reached" in absent.stderr) == (1, True)
    other = command("import", "compreface", people_server.url, KEY, "staff", url=people_server.url)
    assert (other.returncode, "answered 404" in other.stderr) == (1, True)


def test_a_folder(people_server: Served, tmp_path: Path) -> None:
    (tmp_path / "people" / "ada").mkdir(parents=True)
    (tmp_path / "people" / "ada" / "1.jfif").write_bytes(photo(1))
    done = command("import", "folder", tmp_path / "people", "staff", "--create", url=people_server.url)
    assert (done.returncode, done.stdout) == (0, "1 of 1 photos of 1 people are enrolled\n")


def test_rekognition_has_names_only_and_says_so() -> None:
    pytest.importorskip("boto3")

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.headers["X-Amz-Target"] == "RekognitionService.ListFaces"
            faces = [{"FaceId": "1", "ExternalImageId": "Ada"}, {"FaceId": "2"}]
            page = {"Faces": faces, "NextToken": "more"} if "NextToken" not in asked else {"Faces": faces[:1]}
            body = json.dumps(page).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    account = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    with listening(Handler) as host:
        done = command("import", "rekognition", "staff", "--endpoint-url", f"http://{host}", **account)
    assert (done.returncode, done.stdout) == (0, "Ada\n")
    assert "neither photos nor templates" in done.stderr
