"""Uploads over HTTP: each way in, several images, options, slow clients and those that leave half-way."""

import socket
import time

from service.config import Settings
from tests.service.serving import Served, b64, serve, stuck


def test_one_image_by_each_way_in(served: Served, tiny_png: bytes) -> None:
    post = served.client.post
    answers = [
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "image/png"}),
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "application/octet-stream"}),
        post("/v1/faces", content=tiny_png),
        post("/v1/faces", content=tiny_png, headers={"Content-Type": "application/x-www-form-urlencoded"}),
        post("/v1/faces", files={"file": ("secret name.png", tiny_png, "image/png")}),
        post("/v1/faces", json={"image": b64(tiny_png)}),
        post("/v1/faces", json={"image": "data:image/png;base64," + b64(tiny_png)}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["width"], body["height"], body["faces"], body["model"]) == (8, 6, [], "0" * 64)
        assert body["timings_ms"]["decode"] == 1.0
        assert body["timings_ms"]["total"] > 0
        assert answer.headers["cache-control"] == "no-store"


def test_several_images_come_back_in_order_and_one_bad_file_stalls_none(served: Served, tiny_png: bytes) -> None:
    files = [("a", ("1", tiny_png)), ("b", ("2", b"not an image")), ("c", ("3", tiny_png))]
    for answer in (
        served.client.post("/v1/faces", files=files),
        served.client.post("/v1/faces", json={"images": [b64(data) for _, (_, data) in files]}),
    ):
        assert answer.status_code == 200
        first, second, third = answer.json()["images"]
        assert first == third
        assert (first["width"], first["height"], first["faces"]) == (8, 6, [])
        assert second["error"]["code"] == "not_an_image"
        assert second["error"]["status"] == 415
        assert answer.json()["model"] == "0" * 64


def test_a_list_of_one_stays_a_list_and_all_bad_is_no_failure_of_ours(served: Served, tiny_png: bytes) -> None:
    assert len(served.client.post("/v1/faces", json={"images": [b64(tiny_png)]}).json()["images"]) == 1
    answer = served.client.post("/v1/faces", json={"images": [b64(b"no"), b64(b"image")]})
    assert answer.status_code == 200
    assert answer.json()["model"] is None
    assert [entry["error"]["code"] for entry in answer.json()["images"]] == ["not_an_image"] * 2


def test_options_from_query_form_and_json(served: Served, tiny_png: bytes) -> None:
    post = served.client.post
    query = "/v1/faces?max_faces=7&min_size=30.5&descriptor=true"
    post(query, content=tiny_png)
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.min_size, chosen.descriptor, chosen.landmarks) == (7, 30.5, True, True)
    assert chosen.min_score is None
    post(query, files={"file": tiny_png}, data={"max_faces": "3", "landmarks": "false"})
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.min_size, chosen.descriptor, chosen.landmarks) == (3, 30.5, True, False)
    post(query, json={"image": b64(tiny_png), "descriptor": False, "min_score": 0.25})
    chosen = served.seen[-1].options
    assert (chosen.max_faces, chosen.descriptor, chosen.min_score) == (7, False, 0.25)


def test_a_client_that_leaves_in_the_middle_of_its_upload(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\nhello")
    assert served.client.get("/livez").status_code == 200


def test_a_slow_upload_is_given_up(tiny_png: bytes) -> None:
    with serve(Settings(upload_timeout=0.3)) as served:
        stuck(served)
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(b"POST /v1/faces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\nhello")
            started = time.monotonic()
            answer = b"".join(iter(lambda: connection.recv(65536), b""))  # until the server closes the connection
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"upload_timeout" in answer
        assert time.monotonic() - started < Settings().head_timeout


def test_expect_100_continue_is_refused_before_the_body(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/faces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")
