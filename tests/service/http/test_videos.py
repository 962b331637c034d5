"""A video is one medium: enrolled, verified, searched and compared as photos are; and its tracks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import Client, FaceError
from service.config import Settings
from service.gallery.resources import open_keys
from tests.service.gallery.served import people_served, photo, video
from tests.service.serving import Served, is_problem, until

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path_factory.mktemp("videos"), video_at_once=3)
    with people_served(settings) as running:
        running.client.put("/v1/collections/staff").raise_for_status()
        yield running


@pytest.fixture
def faces(served: Served) -> Iterator[Client]:
    with Client(served.url) as client:
        yield client


def ada_walks(*takes: int) -> bytes:
    return video(*[photo(ADA, take=take) for take in takes])


def test_a_video_is_enrolled_as_one_medium(faces: Client) -> None:
    answer = faces.enrol("staff", "ada", ada_walks(1, 2, 3), create=True)
    (medium,) = answer.subject.media
    assert medium.frames == 3
    assert answer.photos[0].faces_seen == 1  # type: ignore[union-attr]
    assert faces.verify("staff", "ada", ada_walks(4, 5)).matched
    assert faces.verify("staff", "ada", photo(ADA, take=6)).matched
    assert not faces.verify("staff", "ada", video(photo(BOB), photo(BOB, take=2))).matched
    assert faces.search("staff", ada_walks(7, 8)).matches[0].subject == "ada"
    assert faces.compare(ada_walks(1, 2), photo(ADA, take=9)).matched
    assert faces.enrol("staff", "ada", [ada_walks(1, 2, 3), photo(ADA, take=7)]).photos[0].medium == medium.id  # type: ignore[union-attr]


def test_several_people_in_a_video_are_as_in_a_photo(faces: Client) -> None:
    both = video(photo(ADA, BOB), photo(ADA, BOB, take=2), photo(ADA, BOB, take=3))
    with pytest.raises(FaceError) as refusal:
        faces.enrol("staff", "bob", both, create=True)
    assert refusal.value.code == "several_faces"
    named = faces.search_all("staff", both)
    assert named.faces_seen == 2
    assert sorted(face.matched for face in named.faces) == [False, True]


def test_the_tracks_of_a_video(faces: Client) -> None:
    frames = [photo(ADA), photo(ADA, BOB, take=2), photo(BOB, take=3), photo(take=4), photo(ADA, take=5, quality=0.5)]
    answer = faces.video(video(*frames), template=True)
    assert answer.times == [0, 0.5, 1, 1.5, 2]
    spans = {(track.first, track.last, tuple(face.time for face in track.faces)) for track in answer.tracks}
    assert spans == {(0, 2, (0, 0.5, 2)), (0.5, 1, (0.5, 1))}
    ada = next(track for track in answer.tracks if track.first == 0)
    assert ada.best.quality.overall == 1
    assert ada.best.time in (0, 0.5)
    assert ada.template is not None
    assert faces.compare(ada.template, photo(ADA, take=9)).matched
    assert faces.video(video(*frames)).tracks[0].template is None


def test_a_long_video_is_a_job(served: Served, faces: Client) -> None:
    walk = video(*[photo(ADA, take=take) for take in range(1, 9)])
    answer = served.client.post("/v1/videos", content=walk)
    assert answer.status_code == 202
    assert (answer.json()["total"], answer.json()["failed"]) == (1, 0)
    where = answer.headers["Location"]
    until(lambda: served.client.get(where).json()["status"] == "done")
    (result,) = served.client.get(where).json()["results"]
    assert result["error"] is None
    (track,) = result["video"]["tracks"]
    assert (track["first"], track["last"], len(track["faces"]), track["template"]) == (0, 3.5, 8, None)
    assert set(result["video"]) == set(served.client.post("/v1/videos", content=ada_walks(1)).json())
    assert served.client.delete(where).status_code == 204
    is_problem(served.client.get(where), 404, "job_not_found")

    (track,) = faces.video(walk, template=True).tracks
    assert track.template is not None
    assert faces.compare(track.template, photo(ADA, take=9)).matched


def test_a_long_video_without_a_face(served: Served, faces: Client) -> None:
    scene = video(*[photo(0, take=take) for take in range(1, 9)])
    where = served.client.post("/v1/videos", content=scene).headers["Location"]
    until(lambda: served.client.get(where).json()["status"] == "done")
    job = served.client.get(where).json()
    assert (job["failed"], job["results"][0]["error"]["code"], job["results"][0]["video"]) == (1, "no_face", None)
    with pytest.raises(FaceError) as refusal:
        faces.video(scene)
    assert (refusal.value.status, refusal.value.code) == (422, "no_face")


def test_the_job_of_a_video_belongs_to_its_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on", video_at_once=1)
    with people_served(settings) as running, open_keys(settings) as keys:
        mine, others = ({"X-API-Key": keys.create("test", ("analyze",))[1]} for _ in range(2))
        long = ada_walks(1, 2, 3, 4)
        answer = running.client.post("/v1/videos", content=long, headers=mine)
        where = answer.headers["Location"]
        is_problem(running.client.get(where, headers=others), 404, "job_not_found")
        is_problem(running.client.delete(where, headers=others), 404, "job_not_found")
        until(lambda: running.client.get(where, headers=mine).json()["status"] == "done")
        is_problem(running.client.post("/v1/videos?template=true", content=long, headers=mine), 403, "forbidden")


def test_what_is_no_video_of_a_face(served: Served) -> None:
    is_problem(served.client.post("/v1/videos", content=video(photo(), photo(take=2))), 422, "no_face")
    url = "/v1/collections/staff/subjects/x/media?create=true"
    is_problem(served.client.post(url, content=video(photo(), photo(take=2))), 422, "no_face")
    is_problem(served.client.post("/v1/videos", content=b"text"), 415, "not_an_image")
    is_problem(served.client.post("/v1/videos", json={"images": []}), 422, "no_image")
    for still in (photo(ADA), b"\xff\xd8\xff a JPEG", b"II*\0 a TIFF"):
        answer = is_problem(served.client.post("/v1/videos", content=still), 415, "not_an_image")
        assert answer["detail"].endswith(", but a photo: POST /v1/faces finds the faces in it")
    webm = b"\x1a\x45\xdf\xa3 and so on"
    assert "/v1/videos" in is_problem(served.client.post("/v1/faces", content=webm), 415, "not_an_image")["detail"]


def test_a_template_of_a_track_needs_the_role_that_templates_need(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on")
    with people_served(settings) as running, open_keys(settings) as keys:
        headers = {"Authorization": f"Bearer {keys.create('test', ('analyze',))[1]}"}
        post = running.client.post
        assert post("/v1/videos", content=ada_walks(1), headers=headers).status_code == 200
        is_problem(post("/v1/videos?template=true", content=ada_walks(1), headers=headers), 403, "forbidden")
