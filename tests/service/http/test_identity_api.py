"""Collections, subjects, media, verify, search and compare over real HTTP, on both stores."""

import json
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import httpx
import numpy as np
import pytest

from service.config import Settings
from tests.service.gallery.served import MODEL, OTHER, people_served, photo
from tests.service.serving import Served

ADA, BOB, EVE = 1, 2, 3
HUGE = b64encode(np.full(16, 1e38, "<f4").tobytes()).decode()


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path)
    server = request.getfixturevalue("shared_redis")
    server.client.flushall()
    return Settings(data_dir=tmp_path, redis_url=server.url)


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    with people_served(settings) as running:
        running.client.put("/v1/collections/staff").raise_for_status()
        yield running


@pytest.fixture(scope="module")
def comparing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API for what stores nothing."""
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("comparing"))) as running:
        yield running


def enrol(client: httpx.Client, subject: str, *photos: bytes, **asked: object) -> httpx.Response:
    url = f"/v1/collections/staff/subjects/{subject}/media"
    files = [("photo", (f"{i}.png", one, "image/png")) for i, one in enumerate(photos)]
    return client.post(url, params={"create": True, **asked}, files=files)


def problem(answer: httpx.Response, status: int, code: str) -> dict:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    assert answer.json()["code"] == code
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    return answer.json()


def test_enrol_verify_search_delete(served: Served):
    client = served.client
    assert client.put("/v1/collections/staff/subjects/ada", json={"metadata": {"team": 7}}).status_code == 201
    assert client.put("/v1/collections/staff/subjects/ada", json={}).status_code == 200
    added = enrol(client, "ada", photo(ADA, take=1), photo(ADA, take=2)).json()
    assert [entry["quality"]["overall"] for entry in added["photos"]] == [1, 1]
    assert len(added["subject"]["media"]) == 2
    assert added["subject"]["template"]
    assert enrol(client, "bob", photo(BOB)).status_code == 200

    right = client.post("/v1/collections/staff/subjects/ada/verify", content=photo(ADA, take=3)).json()
    wrong = client.post("/v1/collections/staff/subjects/ada/verify", content=photo(EVE)).json()
    assert (right["matched"], wrong["matched"]) == (True, False)
    assert right["similarity"] > right["threshold"] == right["thresholds"]["0.001"] > wrong["similarity"]
    assert list(right["thresholds"]) == ["0.01", "0.001", "0.0001"]
    assert right["probability"] > 0.99 > 0.5 > wrong["probability"]
    assert (right["model"], right["score"], right["subject"], right["far"]) == (MODEL, "cosine", "ada", 0.001)

    answer = client.post("/v1/collections/staff/search", content=photo(ADA, take=4)).json()
    assert [match["subject"] for match in answer["matches"]] == ["ada", "bob"]
    assert [match["matched"] for match in answer["matches"]] == [True, False]
    assert answer["matches"][0]["metadata"] == {"team": 7}
    assert (answer["gallery_size"], answer["fpir"], answer["model"]) == (2, 0.01, MODEL)
    stranger = client.post("/v1/collections/staff/search", content=photo(EVE)).json()
    assert not any(match["matched"] for match in stranger["matches"])

    receipt = client.delete("/v1/collections/staff/subjects/ada").json()
    assert (receipt["subjects"], receipt["media"], receipt["photos"]) == (1, 2, 0)
    left = client.post("/v1/collections/staff/search", content=photo(ADA)).json()["matches"]
    assert [match["subject"] for match in left] == ["bob"]
    problem(client.get("/v1/collections/staff/subjects/ada"), 404, "subject_not_found")


def test_a_stricter_rate_and_a_larger_gallery_raise_the_threshold(served: Served):
    client = served.client
    enrol(client, "ada", photo(ADA))
    verify = "/v1/collections/staff/subjects/ada/verify"
    lax, strict = (client.post(verify, content=photo(ADA), params={"far": f}).json() for f in (0.001, 1e-5))
    assert lax["threshold"] < lax["thresholds"]["0.0001"] <= strict["threshold"]
    search = "/v1/collections/staff/search"
    alone = client.post(search, content=photo(ADA)).json()["threshold"]
    for person in range(10, 20):
        enrol(client, f"p{person}", photo(person))
    among = client.post(search, content=photo(ADA), params={"limit": 3}).json()
    assert among["threshold"] > alone
    assert len(among["matches"]) == 3
    assert client.post(search, content=photo(ADA), params={"fpir": 1e-4}).json()["threshold"] > among["threshold"]
    for url, rate, setting in ((verify, "far", "FACE_FAR"), (search, "fpir", "FACE_FPIR")):
        refused = client.post(url, content=photo(ADA), params={rate: 0.3})
        assert setting in problem(refused, 422, "invalid_request")["detail"]


def test_a_subject_of_several_media_needs_a_higher_similarity(served: Served):
    client = served.client
    enrol(client, "ada", photo(ADA))
    enrol(client, "bob", *[photo(BOB, take=t) for t in range(1, 5)])
    found = client.post("/v1/collections/staff/search", content=photo(ADA, take=9)).json()
    thresholds = {match["subject"]: match["threshold"] for match in found["matches"]}
    assert thresholds["ada"] == found["threshold"] < thresholds["bob"]
    verified = [
        client.post(f"/v1/collections/staff/subjects/{who}/verify", content=photo(ADA, take=9)).json()
        for who in ("ada", "bob")
    ]
    assert verified[0]["threshold"] < verified[1]["threshold"] == verified[1]["thresholds"]["0.001"]
    two = [("photo", (f"{i}.png", photo(ADA, take=i), "image/png")) for i in (7, 8)]
    pooled = client.post("/v1/collections/staff/subjects/ada/verify", files=two).json()
    assert pooled["threshold"] > verified[0]["threshold"]
    assert pooled["matched"]


def test_which_face(served: Served):
    client, both = served.client, photo(ADA, BOB)
    problem(enrol(client, "ada", both), 422, "several_faces")
    assert enrol(client, "ada", both, face="largest").status_code == 200
    assert enrol(client, "bob", both, face=1).status_code == 200
    problem(enrol(client, "x", both, face="only"), 422, "several_faces")
    problem(enrol(client, "x", both, face=2), 422, "no_such_face")
    problem(enrol(client, "x", both, face="tallest"), 422, "invalid_request")
    problem(enrol(client, "x", photo()), 422, "no_face")
    problem(client.get("/v1/collections/staff/subjects/x"), 404, "subject_not_found")
    for name, person in (("ada", ADA), ("bob", BOB)):
        found = client.post("/v1/collections/staff/search", content=photo(person, take=9)).json()["matches"]
        assert found[0]["subject"] == name
        assert found[0]["matched"]
    media = [client.get(f"/v1/collections/staff/subjects/{n}").json()["media"][0]["id"] for n in ("ada", "bob")]
    assert media[1] == f"{media[0]}-1"


def test_a_bad_face_is_not_enrolled_and_says_why(served: Served):
    client = served.client
    refused = problem(enrol(client, "ada", photo(ADA, quality=0.1)), 422, "low_quality")
    assert "too blurred" in refused["detail"]
    assert enrol(client, "ada", photo(ADA, quality=0.1), min_quality=0).status_code == 200
    mixed = enrol(client, "bob", photo(BOB), photo(BOB, take=2, quality=0.1), photo(), b"no photo").json()
    codes = [entry.get("error", {}).get("code") for entry in mixed["photos"]]
    assert codes == [None, "low_quality", "no_face", "not_an_image"]
    assert len(mixed["subject"]["media"]) == 1
    # frames of one medium are taken all or none
    problem(enrol(client, "eve", photo(EVE), photo(), medium="clip"), 422, "no_face")
    problem(client.get("/v1/collections/staff/subjects/eve"), 404, "subject_not_found")
    clip = enrol(client, "eve", photo(EVE), photo(EVE, take=2), medium="clip").json()["subject"]["media"]
    assert [(medium["id"], medium["frames"]) for medium in clip] == [("clip", 2)]


def test_a_medium_is_deleted_and_the_template_pooled_anew(served: Served):
    client = served.client
    good, wrong = photo(ADA), photo(EVE)
    first = enrol(client, "ada", good, good).json()["subject"]
    assert len(first["media"]) == 1  # the same photo twice is one medium
    media = enrol(client, "ada", wrong).json()["subject"]["media"]
    verify = "/v1/collections/staff/subjects/ada/verify"
    before = client.post(verify, content=photo(ADA, take=5)).json()["similarity"]
    left = client.delete(f"/v1/collections/staff/subjects/ada/media/{media[1]['id']}").json()
    assert [medium["id"] for medium in left["media"]] == [media[0]["id"]]
    assert client.post(verify, content=photo(ADA, take=5)).json()["similarity"] > before
    none = client.delete(f"/v1/collections/staff/subjects/ada/media/{media[0]['id']}").json()
    assert not none["template"]
    problem(client.post(verify, content=photo(ADA)), 409, "no_template")
    problem(client.delete("/v1/collections/staff/subjects/ada/media/none"), 404, "medium_not_found")


def test_compare_photos_and_templates(served: Served):
    client = served.client
    ada = client.post("/v1/templates", content=photo(ADA)).json()["template"]
    bob = client.post("/v1/templates", content=photo(BOB)).json()["template"]
    two = [("a", photo(ADA)), ("b", photo(ADA, take=2))]
    same = client.post("/v1/compare", files=two).json()
    assert same["matched"]
    assert len(same["faces"]) == 2
    encoded = b64encode(photo(ADA, take=2)).decode()
    ways = [
        client.post("/v1/compare", json={"images": [b64encode(photo(ADA)).decode(), encoded]}),
        client.post("/v1/compare", json={"image": encoded, "template": ada}),
        client.post("/v1/compare", files=[two[1]], data={"template": json.dumps(ada)}),
    ]
    assert [way.json()["similarity"] for way in ways] == pytest.approx([same["similarity"]] * 3, abs=2e-6)
    differ = client.post("/v1/compare", json={"templates": [ada, bob], "far": 0.0001}).json()
    assert (differ["matched"], differ["faces"], differ["far"]) == (False, [], 0.0001)
    pooled = client.post("/v1/templates", files=two, params={"mode": "quality"}).json()
    assert len(pooled["faces"]) == 2
    enrol(client, "ada", photo(ADA, take=8))
    for body in ({"template": pooled["template"]}, {"image": encoded}):
        assert client.post("/v1/collections/staff/subjects/ada/verify", json=body).json()["matched"]
        assert client.post("/v1/collections/staff/search", json=body).json()["matches"][0]["matched"]
    mine = client.get("/v1/collections/staff/subjects/ada/template").json()
    assert (ada["media"], pooled["template"]["media"], mine["media"]) == (1, 2, 1)
    strict, lax = (
        client.post("/v1/compare", json={"image": encoded, "template": pooled["template"] | {"media": media}}).json()
        for media in (9, 1)
    )
    assert strict["thresholds"]["0.001"] > lax["thresholds"]["0.001"]
    assert strict["similarity"] == lax["similarity"]
    assert client.post("/v1/compare", json={"templates": [mine, pooled["template"]]}).json()["matched"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"templates": [{"model": MODEL, "vector": "AAAA"}] * 2}, 422, "invalid_request"),
        ({"templates": [{"model": OTHER, "vector": b64encode(bytes(64)).decode()}] * 2}, 409, "model_mismatch"),
        ({"templates": [{"model": MODEL, "vector": b64encode(bytes(64)).decode()}] * 2}, 422, "invalid_subject"),
        ({"templates": [{"model": MODEL, "vector": b64encode(b"\xff" * 64).decode()}] * 2}, 422, "invalid_request"),
        ({"templates": [{"model": MODEL, "vector": HUGE}] * 2}, 422, "invalid_subject"),
        ({"templates": [{"model": MODEL, "vector": "!"}] * 2}, 422, "invalid_request"),
        ({"templates": [{"model": MODEL, "vector": "AAAA", "media": 0}] * 2}, 422, "invalid_request"),
        ({"templates": [1, 2]}, 422, "invalid_request"),
        ({"templates": "both"}, 422, "invalid_request"),
        ({"template": "{"}, 422, "invalid_request"),
        ({}, 422, "invalid_request"),
        ({"image": b64encode(photo(ADA)).decode()}, 422, "invalid_request"),
        ({"images": [b64encode(photo(ADA)).decode()] * 3}, 422, "invalid_request"),
        ({"images": [b64encode(photo(ADA)).decode()] * 2, "far": 0}, 422, "invalid_request"),
        ({"images": [b64encode(photo(ADA)).decode(), b64encode(photo()).decode()]}, 422, "no_face"),
        ({"images": [b64encode(photo(ADA)).decode(), ""]}, 422, "no_image"),
        ({"secret": 1}, 422, "invalid_request"),
    ],
)
def test_senseless_comparisons_are_refused(comparing: Served, body: dict, status: int, code: str):
    problem(comparing.client.post("/v1/compare", json=body), status, code)


def test_listings_go_over_everything_once(served: Served):
    client = served.client
    for person in range(1, 8):
        enrol(client, f"p{person}", photo(person))
    client.put("/v1/collections/guests")
    seen: list[str] = []
    cursor = None
    while True:
        asked = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/collections/staff/subjects", params=asked).json()
        seen += [subject["id"] for subject in page["subjects"]]
        if (cursor := page["cursor"]) is None:
            break
    assert sorted(seen) == [f"p{person}" for person in range(1, 8)]
    collections = client.get("/v1/collections").json()["collections"]
    assert {(c["name"], c["subjects"], c["current"]) for c in collections} == {("staff", 7, True), ("guests", 0, True)}
    problem(client.get("/v1/collections", params={"cursor": "zz"}), 422, "invalid_subject")
    problem(client.get("/v1/collections", params={"limit": 0}), 422, "invalid_request")


def test_a_collections_policy_is_made_once(served: Served):
    client = served.client
    made = client.put("/v1/collections/album", json={"keep_photos": True, "mode": "median"})
    assert (made.status_code, made.json()["policy"]["mode"]) == (201, "median")
    assert client.put("/v1/collections/album", json={}).status_code == 200
    problem(client.put("/v1/collections/album", json={"mode": "media"}), 409, "collection_exists")
    problem(client.put("/v1/collections/x", json={"mode": "best"}), 422, "invalid_request")
    problem(
        client.put("/v1/collections/x", content=b"{", headers={"content-type": "application/json"}),
        400,
        "invalid_json",
    )
    problem(client.put(f"/v1/collections/{'x' * 300}"), 422, "invalid_name")
    url = "/v1/collections/album/subjects/ada/media"
    medium = client.post(url, params={"create": True}, content=photo(ADA)).json()["photos"][0]["medium"]
    assert client.get(f"{url}/{medium}/photo").content == photo(ADA)
    assert client.delete("/v1/collections/album").json()["subjects"] == 1
    problem(client.get("/v1/collections/album"), 404, "collection_not_found")


def test_bad_subjects_are_refused(served: Served):
    client, url = served.client, "/v1/collections/staff/subjects/ada"
    problem(client.put(url, json={"metadata": {"a": "x" * 20_000}}), 413, "subject_too_large")
    problem(client.put(url, json={"metadata": [1]}), 422, "invalid_request")
    problem(client.put(url, json={"ttl": -1}), 422, "invalid_request")
    problem(client.put(url, json={"name": "Ada"}), 422, "invalid_request")
    for ttl in (True, "60", [60], 0, 1e300):
        problem(client.put(url, json={"ttl": ttl}), 422, "invalid_request")
    for body in (b'{"metadata": {"a": "\\ud800"}}', b'{"metadata": {"a": ' + b"[" * 300 + b"]" * 300 + b"}}"):
        refused = client.put(url, content=body, headers={"content-type": "application/json"})
        assert refused.status_code in (400, 422)
        assert refused.headers["content-type"] == "application/problem+json"
    problem(client.post(f"{url}/media", content=photo(ADA)), 404, "subject_not_found")
    problem(client.post("/v1/collections/none/search", content=photo(ADA)), 404, "collection_not_found")
    problem(client.post(f"{url}/media", content=b""), 422, "no_image")
    problem(client.post(f"{url}/media", content=b"junk"), 415, "not_an_image")
    problem(client.get(url), 404, "subject_not_found")


def test_a_time_to_live_is_set_kept_and_cleared(served: Served):
    client, url = served.client, "/v1/collections/staff/subjects/ada"
    first = client.put(url, json={"ttl": 60}).json()
    assert first["expires"] == pytest.approx(first["updated"] + 60, abs=1e-3)
    assert client.put(url, json={"metadata": {"a": 1}}).json()["expires"] is not None
    assert client.put(url, json={"ttl": None}).json()["expires"] is None
    client.put("/v1/collections/guests", json={"ttl": 100})
    guest = "/v1/collections/guests/subjects/eve"
    assert client.put(guest, json={"ttl": 5}).json()["expires"] == pytest.approx(
        client.get(guest).json()["updated"] + 5, abs=1e-3
    )
    cleared = client.put(guest, json={"ttl": None}).json()
    assert cleared["expires"] == pytest.approx(cleared["updated"] + 100, abs=1e-3)


def test_a_collection_gets_a_new_key_in_use(served: Served):
    client = served.client
    enrol(client, "ada", photo(ADA))
    assert client.post("/v1/collections/staff/rotate-key").json() == {"damaged": []}
    found = client.post("/v1/collections/staff/search", content=photo(ADA, take=2)).json()["matches"]
    assert found[0]["subject"] == "ada"
    problem(client.post("/v1/collections/none/rotate-key"), 404, "collection_not_found")


def test_a_collection_is_exported_imported_and_merged(served: Served):
    client = served.client
    enrol(client, "Ada Lovelace", photo(ADA))
    file = client.post("/v1/collections/staff/export", json={"passphrase": "correct horse"}).content
    assert b"Lovelace" not in file, "a shorter word may stand in random bytes"
    wrong = client.post("/v1/collections/copy/import", content=file, headers={"face-passphrase": "another horse"})
    problem(wrong, 422, "invalid_export")
    right = {"face-passphrase": "correct horse"}
    problem(client.post("/v1/collections/copy/import", content=file[:-1], headers=right), 422, "invalid_export")
    made = client.post("/v1/collections/copy/import", content=file, headers=right)
    assert (made.status_code, made.json()["subjects"]) == (201, 1)
    problem(client.post("/v1/collections/copy/import", content=file, headers=right), 409, "collection_exists")
    problem(client.post("/v1/collections/copy/import", content=file), 422, "invalid_request")
    enrol(client, "bob", photo(BOB))
    assert client.post("/v1/collections/copy/merge", json={"source": "staff"}).json() == {"subjects": 2}
    assert client.get("/v1/collections/copy").json()["subjects"] == 2
    problem(client.post("/v1/collections/copy/merge", json={"source": "copy"}), 422, "invalid_request")
    problem(client.post("/v1/collections/staff/export", json={"passphrase": "short"}), 422, "invalid_request")


def test_another_model_is_refused_and_re_enrolment_is_the_way_out(settings: Settings):
    with people_served(settings) as served:
        served.client.put("/v1/collections/staff", json={"keep_photos": True})
        enrol(served.client, "ada", photo(BOB, ADA), face=1)
        enrol(served.client, "ada", photo(ADA, take=2))
        enrol(served.client, "bob", photo(BOB))
        enrol(served.client, "eve", photo(EVE), photo(EVE, take=2), medium="clip")  # of a clip no photo is kept
        token = served.client.get("/v1/collections/staff/subjects/ada/template").json()
    with people_served(settings, OTHER) as served:
        client = served.client
        assert not client.get("/v1/collections/staff").json()["current"]
        for answer in (
            client.post("/v1/collections/staff/search", content=photo(ADA)),
            client.post("/v1/collections/staff/subjects/ada/verify", content=photo(ADA)),
            client.put("/v1/collections/staff"),
            enrol(client, "ada", photo(ADA)),
        ):
            assert "re-enrol" in problem(answer, 409, "model_mismatch")["detail"]
        problem(client.post("/v1/compare", json={"templates": [token, token]}), 409, "model_mismatch")

        missing = client.post("/v1/collections/staff/re-enrol").json()
        assert missing == {"done": False, "moved": 0, "must_come_again": ["eve"], "model": OTHER}
        assert not client.get("/v1/collections/staff").json()["current"]  # the old templates still serve
        done = client.post("/v1/collections/staff/re-enrol", params={"drop": True}).json()
        assert done == {"done": True, "moved": 2, "must_come_again": ["eve"], "model": OTHER}
        for name, person in (("ada", ADA), ("bob", BOB)):
            match = client.post("/v1/collections/staff/search", content=photo(person, take=7)).json()["matches"][0]
            assert (match["subject"], match["matched"]) == (name, True)
        assert not client.get("/v1/collections/staff/subjects/eve").json()["template"]
        medium = client.get("/v1/collections/staff/subjects/bob").json()["media"][0]["id"]
        assert client.get(f"/v1/collections/staff/subjects/bob/media/{medium}/photo").content == photo(BOB)
        assert client.post("/v1/collections/staff/re-enrol").json()["moved"] == 0


def test_without_a_calibration_nothing_is_claimed(tmp_path: Path):
    with people_served(Settings(data_dir=tmp_path), calibrated=False) as served:
        client = served.client
        client.put("/v1/collections/staff")
        assert enrol(client, "ada", photo(ADA)).status_code == 200
        for url in ("/v1/collections/staff/search", "/v1/collections/staff/subjects/ada/verify"):
            assert "calibrate" in problem(client.post(url, content=photo(ADA)), 503, "not_calibrated")["detail"]
        problem(client.post("/v1/compare", files=[("a", photo(ADA)), ("b", photo(BOB))]), 503, "not_calibrated")


def test_without_a_worker_stored_things_can_still_be_read_and_deleted(served: Served):
    enrol(served.client, "ada", photo(ADA))
    served.broker.leave()
    problem(served.client.post("/v1/collections/staff/search", content=photo(ADA)), 503, "not_ready")
    problem(served.client.put("/v1/collections/new"), 503, "not_ready")
    assert served.client.get("/v1/collections").json()["collections"][0]["current"] is False
    assert served.client.get("/v1/collections/staff/subjects/ada").json()["template"]
    assert served.client.delete("/v1/collections/staff/subjects/ada").status_code == 200


def test_many_at_once_lose_nothing(served: Served):
    def one(number: int) -> int:
        return enrol(served.client, f"p{number % 5}", photo(1 + number % 5, take=number)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(one, range(40))) == {200}
    for person in range(5):
        assert len(served.client.get(f"/v1/collections/staff/subjects/p{person}").json()["media"]) == 8


def test_names_with_odd_letters(served: Served):
    client = served.client
    name = "Zoë Ünal 张伟 ?#%"
    path = f"/v1/collections/staff/subjects/{quote(name)}"
    assert client.put(path).json()["id"] == name
    assert client.post(f"{path}/media", content=photo(ADA)).status_code == 200
    assert client.post("/v1/collections/staff/search", content=photo(ADA)).json()["matches"][0]["subject"] == name
    assert client.delete(path).status_code == 200
