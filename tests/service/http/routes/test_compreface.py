"""CompreFace's calls as its own SDK makes them, and as its documents write them."""

import json
import logging
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from tests.foreign import foreign_environment
from tests.service.gallery.served import DIMENSION, people_served, photo, vector
from tests.service.serving import Served, b64

pytestmark = pytest.mark.slow

ADA, BOB, EVE = 1, 2, 3
RECOGNITION = "/api/v1/recognition"
CALLS = Path(__file__).with_name("compreface_calls.py")
WRONG = f"face_{'0' * 12}_{'A' * 43}"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("compreface"), api_keys="on", compat="compreface")


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    with people_served(settings) as running:
        yield running


def service(settings: Settings, *roles: str, collection: str | None = None) -> dict[str, str]:
    """Return the header of a new key of one collection, of its own unless it is named."""
    with open_keys(settings) as keys:
        return {"x-api-key": keys.create("test", roles, collections=(collection or uuid.uuid4().hex,))[1]}


def send(served: Served, path: str, key: dict[str, str], **photos: bytes) -> httpx.Response:
    """Post photos in a form."""
    return served.client.post(path, headers=key, files={name: (name, data) for name, data in photos.items()})


def add(served: Served, key: dict[str, str], subject: str, data: bytes) -> str:
    """Store a face; return its id."""
    answer = send(served, f"{RECOGNITION}/faces?subject={subject}", key, file=data)
    assert answer.status_code == 201, answer.text
    return answer.json()["image_id"]


def test_every_call_of_the_sdk(settings: Settings, served: Served, tmp_path: Path):
    programs = foreign_environment("compreface-sdk==0.6.0", "urllib3<2")
    photos = {"ada1": photo(ADA), "ada2": photo(ADA, take=2), "bob": photo(BOB), "both": photo(BOB, ADA, take=3)}
    for name, data in (photos | {"nobody": photo()}).items():
        (tmp_path / f"{name}.png").write_bytes(data)
    address, _, port = served.url.rpartition(":")
    key = service(settings, "admin")["x-api-key"]
    words = [programs / "python", CALLS, address, port, key, WRONG, tmp_path]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    check_sdk_answers(json.loads(done.stdout))


def check_sdk_answers(answers: dict) -> None:
    """Check what CompreFace's callers read of each answer."""
    code = {name: answer["code"] for name, answer in answers.items() if "code" in answer}
    assert code == {
        "added two faces": 31, "added no face": 28, "subject again": 43, "no face": 28, "no prediction": 26,
        "verified with none": 44, "detected none": 28, "compared two": 31, "renamed none": 42, "deleted again": 44,
        "deleted no subject": 42, "a stranger's key": 10,
    }  # fmt: skip
    assert all(isinstance(answers[name]["message"], str) for name in code)
    assert answers["nobody enrolled"]["result"][0]["subjects"] == []
    assert (answers["no subjects"], answers["no faces"]["faces"]) == ({"subjects": []}, [])
    image = answers["added"]["image_id"]
    assert answers["added"] == {"image_id": str(uuid.UUID(image)), "subject": "Ada Lovelace"}
    assert answers["subject"] == {"subject": "Bob"}
    assert {"image_id": image, "subject": "Ada Lovelace"} in answers["faces"]["faces"]
    assert (answers["faces"]["total_elements"], answers["faces"]["total_pages"]) == (2, 1)
    assert sorted(answers["subjects"]["subjects"]) == ["Ada Lovelace", "Bob"]
    bob, ada = answers["recognized"]["result"]
    assert [each["subject"] for each in ada["subjects"]] == ["Ada Lovelace", "Bob"]
    assert ada["subjects"][0]["similarity"] >= 0.5 > ada["subjects"][1]["similarity"]
    assert bob["subjects"][0]["subject"] == "Bob"
    check_plugins(bob)
    assert set(answers["recognized"]["plugins_versions"]) == {"detector", "age", "gender", "landmarks", "calculator"}
    assert len(answers["recognized one"]["result"]) == 1
    assert answers["verified"]["result"][0]["similarity"] >= 0.5 > answers["not verified"]["result"][0]["similarity"]
    assert [face["box"]["x_min"] for face in answers["detected"]["result"]] == [0, 1]
    check_plugins(answers["detected"]["result"][0])
    (compared,) = answers["compared"]["result"]
    assert compared["source_image_face"]["box"]["probability"] == 0.9
    best, other = compared["face_matches"]
    assert (best["box"]["x_min"], other["box"]["x_min"]) == (1, 0)
    assert best["similarity"] >= 0.5 > other["similarity"]
    assert answers["renamed"] == answers["merged"] == {"updated": True}
    assert answers["merged subjects"] == {"subjects": ["Bob"]}
    assert {face["subject"] for face in answers["merged faces"]["faces"]} == {"Bob"}
    assert answers["merged faces"]["total_elements"] == 2
    assert answers["deleted"] == {"image_id": image, "subject": "Bob"}
    assert (answers["deleted of subject"], answers["deleted of nobody"]) == ({"deleted": 1}, {"deleted": 0})
    assert answers["deleted subject"] == {"subject": "Eve"}
    assert answers["deleted all"] == {"deleted": 0}


def check_plugins(face: dict) -> None:
    """Check what the plugins tell of a face, and that nothing is made up that nobody measured."""
    assert face["age"]["low"] <= 30 <= face["age"]["high"]
    assert face["gender"] == {"value": "female", "probability": 0.5}
    assert len(face["landmarks"]) == 5
    assert len(face["embedding"]) == DIMENSION
    assert face["execution_time"]["detector"] >= 0
    assert "mask" not in face


def test_photos_in_json_and_pose(settings: Settings, served: Served):
    key = service(settings, "admin")
    for text in (b64(photo(ADA)), f"data:image/png;base64,{b64(photo(ADA))}"):
        answer = served.client.post(
            "/api/v1/detection/detect", params={"face_plugins": "pose"}, headers=key, json={"file": text}
        )
        assert answer.json()["result"][0]["pose"] == {"pitch": 0, "roll": 0, "yaw": 0}
    both = {"source_image": b64(photo(ADA)), "target_image": b64(photo(ADA, take=2))}
    answer = served.client.post("/api/v1/verification/verify", headers=key, json=both)
    assert answer.json()["result"][0]["face_matches"][0]["similarity"] >= 0.5
    added = served.client.post(f"{RECOGNITION}/faces?subject=ada", headers=key, json={"file": b64(photo(ADA))})
    assert added.status_code == 201


def test_embeddings_as_the_documents_have_them(settings: Settings, served: Served):
    key = service(settings, "admin")
    image = add(served, key, "ada", photo(ADA))
    add(served, key, "bob", photo(BOB))
    found = send(served, f"{RECOGNITION}/recognize?face_plugins=calculator", key, file=photo(ADA, take=2)).json()
    ada, eve = found["result"][0]["embedding"], vector(EVE, 1).tolist()
    answer = served.client.post(
        f"{RECOGNITION}/embeddings/recognize?prediction_count=2", headers=key, json={"embeddings": [ada, eve]}
    )
    first, second = answer.json()["result"]
    assert first["embedding"] == ada
    assert first["similarities"][0] == found["result"][0]["subjects"][0]
    assert first["similarities"][0]["subject"] == "ada"
    assert all(each["similarity"] < 0.5 for each in second["similarities"])
    answer = served.client.post(
        f"{RECOGNITION}/embeddings/faces/{image}/verify", headers=key, json={"embeddings": [ada, eve]}
    )
    assert [each["similarity"] >= 0.5 for each in answer.json()["result"]] == [True, False]
    answer = served.client.post(
        "/api/v1/verification/embeddings/verify", headers=key, json={"source": ada, "targets": [ada, eve]}
    )
    assert [each["similarity"] >= 0.5 for each in answer.json()["result"]] == [True, False]


@pytest.mark.parametrize("embedding", [[], [0.0] * DIMENSION, [1e39] * DIMENSION, [1.0] * (DIMENSION - 1)])
def test_embeddings_that_are_none(settings: Settings, served: Served, embedding: list[float]):
    key = service(settings, "admin")
    add(served, key, "ada", photo(ADA))
    for path, body in (
        (f"{RECOGNITION}/embeddings/recognize", {"embeddings": [embedding]}),
        ("/api/v1/verification/embeddings/verify", {"source": embedding, "targets": []}),
    ):
        answer = served.client.post(path, headers=key, json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 36)


def test_faces_come_in_pages_and_go_one_some_or_all(settings: Settings, served: Served):
    key = service(settings, "admin")
    images = [add(served, key, f"p{person}", photo(person)) for person in range(10, 15)]
    pages = [
        served.client.get(f"{RECOGNITION}/faces", params={"page": page, "size": 2}, headers=key).json()
        for page in range(4)
    ]
    assert [len(page["faces"]) for page in pages] == [2, 2, 1, 0]
    assert {face["image_id"] for page in pages for face in page["faces"]} == set(images)
    shown = {name: value for name, value in pages[1].items() if name != "faces"}
    assert shown == {"page_number": 1, "page_size": 2, "total_pages": 3, "total_elements": 5}
    of_one = served.client.get(f"{RECOGNITION}/faces", params={"subject": "p12"}, headers=key).json()
    assert of_one["faces"] == [{"image_id": images[2], "subject": "p12"}]
    some = served.client.post(
        f"{RECOGNITION}/faces/delete", headers=key, json=[images[0], images[1], str(uuid.uuid4())]
    )
    assert {face["image_id"] for face in some.json()} == set(images[:2])
    assert served.client.delete(f"{RECOGNITION}/faces", headers=key).json() == {"deleted": 3}
    assert served.client.get(f"{RECOGNITION}/subjects/", headers=key).json() == {"subjects": []}


def test_photos_are_shown_where_the_collection_keeps_them(settings: Settings, served: Served):
    admin, key = service(settings, "admin", collection="kept"), service(settings, "enrol", collection="kept")
    served.client.put("/v1/collections/kept", headers=admin, json={"keep_photos": True}).raise_for_status()
    image = add(served, key, "ada", photo(ADA))
    shown = served.client.get(f"{RECOGNITION}/faces/{image}/img", headers=key)
    assert (shown.content, shown.headers["content-type"]) == (photo(ADA), "application/octet-stream")
    bare = service(settings, "enrol")
    image = add(served, bare, "ada", photo(ADA))
    for name in (image, str(uuid.uuid4()), "x"):
        shown = served.client.get(f"{RECOGNITION}/faces/{name}/img", headers=bare)
        assert (shown.status_code, shown.content) == (200, b"")


def test_a_photo_is_shown_to_who_has_the_key_in_its_address(
    settings: Settings, served: Served, caplog: pytest.LogCaptureFixture
):
    admin, key = service(settings, "admin", collection="album"), service(settings, "enrol", collection="album")
    served.client.put("/v1/collections/album", headers=admin, json={"keep_photos": True}).raise_for_status()
    image = add(served, key, "ada", photo(ADA))

    def show(token: str, name: str = image, **headers: str) -> httpx.Response:
        return served.client.get(f"/api/v1/static/{token}/images/{name}", headers=headers)

    secret = key["x-api-key"]
    with caplog.at_level("DEBUG"):
        shown = show(secret)
    assert (shown.status_code, shown.content) == (200, photo(ADA))
    assert (shown.headers["cache-control"], shown.headers["referrer-policy"]) == ("no-store", "no-referrer")
    ours = [record.__dict__ for record in caplog.records if record.name.startswith("service")]
    assert any(record["message"] == "request" for record in ours)
    assert not logging.getLogger("uvicorn.access").propagate, (
        "the server's own log of addresses is off; pytest hears it"
    )
    assert secret not in str(ours)
    assert secret not in (settings.data_dir / "audit.jsonl").read_text()
    assert secret not in served.client.get("/metrics", headers=admin).text
    assert show(secret, str(uuid.uuid4())).content == b""
    assert show(WRONG).json()["code"] == 10
    assert show(WRONG, **key).json()["code"] == 10, "the key in the address counts, and no other"
    reader = service(settings, "verify", collection="album")["x-api-key"]
    assert (show(reader).status_code, show(reader).json()["code"]) == (403, 1)
    other = service(settings, "enrol")["x-api-key"]
    assert (show(other).status_code, show(other).content) == (200, b"")


def test_faces_that_our_own_api_enrolled_have_ids_too(settings: Settings, served: Served):
    key = service(settings, "admin", collection="ours")
    served.client.put("/v1/collections/ours", headers=key).raise_for_status()
    media = "/v1/collections/ours/subjects/ada/media"
    served.client.post(media, params={"create": True}, headers=key, content=photo(ADA)).raise_for_status()
    (face,) = served.client.get(f"{RECOGNITION}/faces", headers=key).json()["faces"]
    assert str(uuid.UUID(face["image_id"])) == face["image_id"]
    verified = send(served, f"{RECOGNITION}/faces/{face['image_id']}/verify", key, file=photo(ADA, take=2))
    assert verified.json()["result"][0]["similarity"] >= 0.5
    assert served.client.delete(f"{RECOGNITION}/faces/{face['image_id']}", headers=key).json() == face
    assert served.client.get("/v1/collections/ours/subjects/ada", headers=key).json()["media"] == []


def test_a_key_that_only_verifies_learns_of_matches_alone(settings: Settings, served: Served):
    admin = service(settings, "admin", collection="door")
    image = add(served, admin, "ada", photo(ADA))
    add(served, admin, "bob", photo(BOB))
    key = service(settings, "verify", collection="door")
    path = f"{RECOGNITION}/recognize?prediction_count=10"
    assert send(served, path, key, file=photo(EVE)).json()["result"][0]["subjects"] == []
    (match,) = send(served, path, key, file=photo(ADA, take=2)).json()["result"][0]["subjects"]
    assert match["subject"] == "ada"
    assert match["similarity"] >= 0.5
    similar = {
        send(served, path, key, file=photo(ADA, take=take)).json()["result"][0]["subjects"][0]["similarity"]
        for take in range(2, 12)
    }
    assert len(similar) < 10, "similarities are told in steps"
    verify = f"{RECOGNITION}/faces/{image}/verify"
    assert send(served, verify, key, file=photo(ADA, take=2)).json()["result"][0]["similarity"] >= 0.5
    assert "similarity" not in send(served, verify, key, file=photo(EVE)).json()["result"][0]


def test_a_key_that_only_verifies_is_slowed(settings: Settings, tmp_path: Path):
    slow = Settings(data_dir=tmp_path, api_keys="on", compat="compreface", probes_per_minute=3)
    with people_served(slow) as served:
        image = add(served, service(slow, "admin", collection="door"), "ada", photo(ADA))
        key = service(slow, "verify", collection="door")
        for path in (f"{RECOGNITION}/recognize", f"{RECOGNITION}/faces/{image}/verify"):
            statuses = [send(served, path, key, file=photo(EVE)).status_code for _ in range(4)]
            assert statuses == [200, 200, 200, 429]


def test_without_keys_the_collection_is_compreface(tmp_path: Path):
    with people_served(Settings(data_dir=tmp_path, compat="compreface")) as served:
        add(served, {}, "ada", photo(ADA))
        (collection,) = served.client.get("/v1/collections").json()["collections"]
        assert (collection["name"], collection["subjects"]) == ("compreface", 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", "/recognize", {"content": b""}, (400, 21)),
        ("POST", "/recognize", {"files": {"other": b"x"}}, (400, 34)),
        ("POST", "/recognize", {"files": {"file": b"no photo"}}, (400, 21)),
        ("POST", "/recognize", {"json": {"file": "?"}}, (400, 26)),
        ("POST", "/recognize", {"json": {"file": 5}}, (400, 26)),
        ("POST", "/recognize", {"json": {}}, (400, 34)),
        ("POST", "/recognize", {"content": b"{", "headers": {"content-type": "application/json"}}, (400, 0)),
        ("POST", "/recognize?limit=-1", {}, (400, 26)),
        ("POST", "/recognize?det_prob_threshold=2", {}, (400, 26)),
        ("POST", "/recognize?prediction_count=0", {}, (400, 26)),
        ("POST", "/faces", {"files": {"file": b"x"}}, (400, 33)),
        ("POST", "/faces?subject=%20", {"files": {"file": b"x"}}, (400, 26)),
        ("POST", "/subjects", {"json": {"subject": ""}}, (400, 26)),
        ("POST", "/subjects", {"json": {"name": "ada"}}, (400, 26)),
        ("POST", "/subjects", {"json": {"subject": "a/b"}}, (400, 26)),
        ("PUT", "/subjects/nobody", {"json": {"subject": "ada"}}, (404, 42)),
        ("GET", "/faces?size=0", {}, (400, 26)),
        ("GET", "/faces?page=-1", {}, (400, 26)),
        ("POST", "/faces/delete", {"json": {}}, (400, 26)),
        ("DELETE", "/faces/x", {}, (404, 44)),
        ("POST", "/embeddings/recognize", {"json": {"embeddings": [["x"]]}}, (400, 26)),
        ("GET", "/nothing", {}, (404, 0)),
        ("PATCH", "/faces", {}, (404, 0)),
    ],
)
def test_what_is_wrong_is_said_as_compreface_says_it(
    settings: Settings, served: Served, method: str, path: str, body: dict, expected: tuple[int, int]
):
    headers = service(settings, "admin") | body.pop("headers", {})
    answer = served.client.request(method, RECOGNITION + path, headers=headers, **body)
    assert (answer.status_code, answer.json()["code"]) == expected, answer.text
    assert set(answer.json()) == {"message", "code"}


def test_a_missing_key_is_named(served: Served):
    answer = served.client.get(f"{RECOGNITION}/faces")
    assert (answer.status_code, answer.json()) == (400, {"message": "Missing header: x-api-key", "code": 20})


def test_a_face_below_the_quality_is_not_added(settings: Settings, served: Served):
    answer = send(served, f"{RECOGNITION}/faces?subject=ada", service(settings, "admin"), file=photo(ADA, quality=0.1))
    assert (answer.status_code, answer.json()["code"]) == (400, 36)
    assert "sharpness" in answer.json()["message"]


def test_the_vectors_are_those_that_are_compared(settings: Settings, served: Served):
    answer = send(
        served, "/api/v1/detection/detect?face_plugins=calculator", service(settings, "analyze"), file=photo(ADA)
    )
    assert np.allclose(answer.json()["result"][0]["embedding"], vector(ADA, 1), atol=1e-6)
