"""Bodies with photos as senders really write them: forms cut short, base64 of every kind, one bad photo of several."""

import base64

import pytest

from service.config import Settings
from tests.service.serving import answering, b64, is_problem, nothing_found, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory):
    settings = Settings(data_dir=tmp_path_factory.mktemp("uploads"), max_images=3)
    with serve(settings) as running, answering(running.broker, nothing_found) as seen:
        running.seen = seen
        yield running


def part(name: str, data: bytes, *, filename: str | None = None, content_type: str | None = None) -> bytes:
    """Return one part of a form whose boundary is `x`."""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"'
    head += f'; filename="{filename}"' if filename is not None else ""
    head += f"\r\nContent-Type: {content_type}" if content_type else ""
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def test_a_form_cut_anywhere_before_its_last_boundary_is_refused(served, tiny_png: bytes) -> None:
    whole = part("file", tiny_png, filename="a.png") + part("file", tiny_png, filename="b.png")
    whole += part("max_faces", b"3") + b"--x--\r\n"
    assert served.client.post("/v1/faces", content=whole, headers=FORM).status_code == 200
    options = part("max_faces", b"3")
    first = len(part("file", tiny_png, filename="a.png"))
    for end in (first, first * 2, first * 2 + len(options), first + 50, len(whole) - 5, len(whole) - 4 - len(options)):
        for path in ("/v1/faces", "/v1/jobs", "/v1/compare", "/v1/templates"):
            is_problem(served.client.post(path, content=whole[:end], headers=FORM), 400, "invalid_multipart")


def test_a_file_without_a_name_and_an_unused_file_input_are_as_browsers_mean_them(served, tiny_png: bytes) -> None:
    unused = part("second", b"", filename="", content_type="application/octet-stream")
    for photo in (
        part("file", tiny_png),
        part("file", tiny_png, content_type="image/png"),
        part("file", tiny_png, filename="", content_type="image/png"),
    ):
        answer = served.client.post("/v1/faces", content=photo + unused + b"--x--\r\n", headers=FORM)
        assert answer.status_code == 200, answer.text
        assert answer.json()["width"] == 8  # one photo, answered as one
    is_problem(served.client.post("/v1/faces", content=unused + b"--x--\r\n", headers=FORM), 422, "no_image")


@pytest.mark.parametrize(
    "write",
    [
        lambda data: base64.encodebytes(data).decode(),
        lambda data: b64(data).rstrip("="),
        lambda data: base64.urlsafe_b64encode(data).decode(),
        lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
        lambda data: "DATA:image/png;base64," + b64(data),
        lambda data: "data:image/png;base64," + base64.encodebytes(data).decode().replace("\n", "\r\n"),
    ],
    ids=["line breaks", "no padding", "URL-safe", "URL-safe without padding", "DATA:", "data: with line breaks"],
)
def test_base64_as_libraries_write_it_is_taken(served, tiny_png: bytes, write) -> None:
    photo = tiny_png + bytes([0xFB, 0xEF, 0xFF, 0xFE])  # letters that differ in the URL-safe alphabet
    answer = served.client.post("/v1/faces", json={"image": write(photo)})
    assert answer.status_code == 200, answer.text
    assert served.seen[-1].image == photo


def test_of_several_images_one_bad_text_is_an_error_of_its_own(served, tiny_png: bytes) -> None:
    texts = [b64(tiny_png), "***", b64(tiny_png)]
    first, second, third = served.client.post("/v1/faces", json={"images": texts}).json()["images"]
    assert first == third
    assert first["faces"] == []
    assert (second["error"]["status"], second["error"]["code"]) == (422, "invalid_request")
    is_problem(served.client.post("/v1/faces", json={"image": "***"}), 422, "invalid_request")


def test_one_photo_is_answered_as_a_list_where_the_caller_wants_one(served, tiny_png: bytes) -> None:
    ways = [
        served.client.post("/v1/faces?list=true", content=tiny_png),
        served.client.post("/v1/faces", files={"file": tiny_png}, data={"list": "true"}),
        served.client.post("/v1/faces", json={"image": b64(tiny_png), "list": True}),
    ]
    for answer in ways:
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["images"]) == 1
    bad = served.client.post("/v1/faces?list=true", content=b"not an image").json()
    assert bad["images"][0]["error"]["code"] == "not_an_image"


def test_json_that_begins_with_a_byte_order_mark_is_read(served, tiny_png: bytes) -> None:
    body = b'\xef\xbb\xbf{"image": "' + b64(tiny_png).encode() + b'"}'
    answer = served.client.post("/v1/faces", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.status_code == 200
