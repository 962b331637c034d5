"""`/v1/clusters`: a pile of photos sorted into people."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.client.client import Client, FaceError
from service.config import Settings
from service.gallery.resources import open_keys
from service.schemas.clusters import ClusterTemplate
from tests.service.gallery.served import MODEL, people_served, photo, vector
from tests.service.serving import Served, b64, is_problem

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    settings = Settings(data_dir=tmp_path, max_images=2, job_images=20, cluster_faces=12, job_images_at_once=3)
    with people_served(settings) as running:
        yield running


def test_a_pile_is_sorted_into_people(served: Served) -> None:
    pile = [photo(ADA), photo(BOB, ADA, take=2), photo(EVE), photo(BOB, take=3), photo(ADA, take=4), b"not a photo"]
    with Client(served.url) as faces:
        answer = faces.clusters(pile)
    members = [{(face.image, face.face) for face in cluster.faces} for cluster in answer.clusters]
    assert members == [{(0, 0), (1, 1), (4, 0)}, {(1, 0), (3, 0)}]
    assert [(face.image, face.face) for face in answer.single] == [(2, 0)]
    assert [(each.image, each.error.code) for each in answer.errors] == [(5, "not_an_image")]
    assert (answer.left_out, answer.model) == ([], MODEL)
    for cluster in answer.clusters:
        assert cluster.cohesion >= answer.threshold
        assert (cluster.exemplar.image, cluster.exemplar.face) in {(face.image, face.face) for face in cluster.faces}


def test_two_faces_of_one_photo_never_join(served: Served) -> None:
    body = {"images": [b64(photo(ADA, ADA))]}
    answer = served.client.post("/v1/clusters", json=body).json()
    assert answer["clusters"] == []
    assert len(answer["single"]) == 2


def test_a_bad_face_is_left_out_with_its_reasons(served: Served) -> None:
    answer = served.client.post("/v1/clusters", content=photo(ADA, quality=0.1)).json()
    box = {"x": 0.0, "y": 0.0, "width": 1.0, "height": 1.0}
    reasons = ["sharpness: too blurred"]
    assert answer["left_out"] == [{"image": 0, "face": 0, "id": None, "box": box, "reasons": reasons}]


def test_a_photo_without_faces(served: Served) -> None:
    answer = served.client.post("/v1/clusters", content=photo()).json()
    assert (answer["clusters"], answer["single"], answer["left_out"]) == ([], [], [])


def test_limits(served: Served) -> None:
    crowd = {"images": [b64(photo(1, 2, 3, 4, 5)), b64(photo(6, 7, 8, 9, 10)), b64(photo(11, 12, 13))]}
    assert "12" in is_problem(served.client.post("/v1/clusters", json=crowd), 413, "too_many_faces")["detail"]
    many = {"images": [b64(photo(ADA))] * 21}
    is_problem(served.client.post("/v1/clusters", json=many), 413, "too_many_images")
    is_problem(served.client.post("/v1/clusters", json={"images": []}), 422, "no_image")
    is_problem(served.client.post("/v1/clusters?far=1", content=photo(ADA)), 422, "invalid_request")
    is_problem(served.client.post("/v1/clusters", content=b"not a photo"), 415, "not_an_image")


def template(person: int, take: int, **fields: object) -> dict[str, object]:
    """Return a face as a vector, as a caller sends it."""
    numbers = vector(person, take).astype("<f4").tobytes()
    return {"id": f"{person}-{take}", "vector": b64(numbers), **fields}


def test_templates_are_sorted_into_people(served: Served) -> None:
    faces = [template(ADA, 1, photo="a"), template(BOB, 1, photo="a"), template(ADA, 2, model=MODEL), template(EVE, 1)]
    answer = served.client.post("/v1/clusters", json={"templates": [*faces, template(BOB, 2, quality=0.1)]}).json()
    members = [[face["id"] for face in cluster["faces"]] for cluster in answer["clusters"]]
    assert [sorted(each) for each in members] == [["1-1", "1-2"]]
    assert [face["id"] for face in answer["single"]] == ["2-1", "3-1"]
    (left_out,) = answer["left_out"]
    assert (left_out["id"], left_out["image"]) == ("2-2", 4)
    assert "0.10" in left_out["reasons"][0]
    same_photo = {"templates": [template(ADA, 1, photo="a"), template(ADA, 2, photo="a")]}
    assert served.client.post("/v1/clusters", json=same_photo).json()["clusters"] == []


def test_the_client_sends_templates(served: Served) -> None:
    with Client(served.url) as faces:
        answer = faces.clusters([ClusterTemplate.model_validate(template(ADA, take)) for take in (1, 2)])
    assert {face.id for face in answer.clusters[0].faces} == {"1-1", "1-2"}


def test_templates_that_cannot_be_sorted(served: Served) -> None:
    def post(*templates: object, **fields: object) -> httpx.Response:
        return served.client.post("/v1/clusters", json={"templates": list(templates), **fields})

    is_problem(post(template(ADA, 1, model="b" * 64)), 409, "model_mismatch")
    is_problem(post(), 422, "no_image")
    is_problem(post(*[template(ADA, 1)] * 13), 413, "too_many_faces")
    is_problem(post(template(ADA, 1), image=b64(photo(ADA))), 422, "invalid_request")
    zeros = b64(bytes(64))
    not_numbers = b64(b"\0\0\xc0\x7f" * 16)
    for bad in (
        {"id": "x"},
        {"vector": zeros},
        {"id": 5, "vector": zeros},
        {"id": "x", "vector": zeros},
        {"id": "x", "vector": not_numbers},
        {"id": "x", "vector": "%%%%%%%%"},
        template(ADA, 1, quality=2),
        template(ADA, 1, more=1),
        7,
        None,
    ):
        assert "template" in is_problem(post(bad), 422, "invalid_request")["detail"]


def test_templates_need_their_role(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on")
    with people_served(settings) as running, open_keys(settings) as keys:
        for roles, status in ((("verify",), 403), (("verify", "templates"), 200)):
            headers = {"Authorization": f"Bearer {keys.create('test', roles)[1]}"}
            body = {"templates": [template(ADA, 1)]}
            assert running.client.post("/v1/clusters", json=body, headers=headers).status_code == status
            assert running.client.post("/v1/clusters", content=photo(ADA), headers=headers).status_code == 200


def test_the_same_photo_twice_is_flagged(served: Served) -> None:
    pile = [photo(ADA), photo(BOB), photo(ADA)]
    with Client(served.url) as faces:
        answer = faces.clusters(pile)
    assert [(each.image, each.same_as) for each in answer.duplicates] == [(2, 0)]
    assert {(face.image, face.face) for face in answer.clusters[0].faces} == {(0, 0), (2, 0)}


def test_a_collection_names_the_people(served: Served) -> None:
    with Client(served.url) as faces:
        faces.put_collection("staff")
        faces.enrol("staff", "ada", photo(ADA), create=True)
        faces.enrol("staff", "eve", photo(EVE), create=True)
        pile = [photo(ADA, take=2), photo(BOB, ADA, take=3), photo(BOB, take=4), photo(EVE, take=5), photo(9)]
        answer = faces.clusters(pile, collection="staff")
        assert [cluster.subject for cluster in answer.clusters] == ["ada", None] or [
            cluster.subject for cluster in answer.clusters
        ] == [None, "ada"]
        assert [face.subject for face in answer.single] == ["eve", None]
        with pytest.raises(FaceError) as refusal:
            faces.clusters(pile, collection="nobody")
        assert refusal.value.code == "collection_not_found"


def test_a_job_sorts_a_pile(served: Served) -> None:
    pile = {"one": photo(ADA), "two": photo(BOB, ADA, take=2), "none": b"not a photo", "three": photo(EVE)}
    with Client(served.url) as faces:
        done = faces.wait_for_job(faces.submit_job(pile, cluster=True).id, 60)
        plain = faces.wait_for_job(faces.submit_job([photo(ADA)] * 2, quality=True).id, 60)
    assert done.clusters is not None
    (cluster,) = done.clusters.clusters
    assert {(face.image, face.face) for face in cluster.faces} == {(0, 0), (1, 1)}
    assert [(face.image, face.face) for face in done.clusters.single] == [(1, 0), (3, 0)]
    assert [(each.image, each.error.code) for each in done.clusters.errors] == [(2, "not_an_image")]
    assert plain.clusters is None


def test_a_job_flags_the_same_photo_twice(served: Served) -> None:
    pile = {"one": photo(ADA), "broken": b"", "again": photo(ADA), "bob": photo(BOB), "empty": b"", "third": photo(ADA)}
    with Client(served.url) as faces:
        done = faces.wait_for_job(faces.submit_job(pile, cluster=True).id, 60)
    assert done.clusters is not None
    assert [(each.image, each.same_as) for each in done.clusters.duplicates] == [(2, 0), (5, 0)]
    assert {(face.image, face.face) for face in done.clusters.clusters[0].faces} == {(0, 0), (2, 0), (5, 0)}


def test_a_job_of_too_many_faces_keeps_its_results(served: Served) -> None:
    crowd = photo(*range(1, 8))
    with Client(served.url) as faces:
        done = faces.wait_for_job(faces.submit_job([crowd, crowd], cluster=True).id, 60)
    assert len(done.results) == 2
    assert done.clusters is None
    assert done.clusters_error is not None
    assert done.clusters_error.code == "too_many_faces"
