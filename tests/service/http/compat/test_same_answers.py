"""What our own API says of a photo, the mappings of other products' APIs say too."""

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64

KNOWN = range(1, 9)
PEOPLE = st.lists(st.integers(1, 16), unique=True, min_size=1, max_size=6)
TAKES = st.integers(2, 200)
OURS = "/v1/collections/compreface"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The three APIs over one collection of some of the people who may be in photos."""
    data = tmp_path_factory.mktemp("same")
    with people_served(Settings(data_dir=data, compat="compreface,rekognition")) as running:
        running.client.put(OURS).raise_for_status()
        for person in KNOWN:
            for take in range(person % 3 + 1):
                path = f"{OURS}/subjects/p{person}/media"
                added = running.client.post(path, params={"create": True}, content=photo(person, take=100 + take))
                added.raise_for_status()
        yield running


def ours(served: Served, data: bytes) -> list[dict]:
    """Return each face as our own API tells it, with who matches it."""
    faces = served.client.post("/v1/faces", content=data).json()
    search = {"face": "all", "exclusive": False, "limit": 100}
    searched = served.client.post(f"{OURS}/search", params=search, content=data).json()["faces"]
    return [
        face | {"matched": {match["subject"] for match in found["matches"] if match["matched"]}}
        for face, found in zip(faces["faces"], searched, strict=True)
    ]


def amazon(served: Served, operation: str, data: bytes, **members: object) -> dict:
    """Call an operation of Rekognition with a photo."""
    target = {"X-Amz-Target": f"RekognitionService.{operation}"}
    body = {"Image": {"Bytes": b64(data)}} | members
    answer: httpx.Response = served.client.post("/compat/rekognition", headers=target, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@settings(max_examples=12, deadline=None)
@given(people=PEOPLE, take=TAKES)
def test_compreface_says_what_we_say(served: Served, people: list[int], take: int):
    data = photo(*people, take=take)
    query = {"prediction_count": 100, "face_plugins": "age,gender,landmarks,pose"}
    answer = served.client.post("/api/v1/recognition/recognize", params=query, json={"file": b64(data)})
    for said, face in zip(answer.json()["result"], ours(served, data), strict=True):
        matched = {each["subject"] for each in said["subjects"] if each["similarity"] >= 0.5}
        assert matched == face["matched"]
        shares = [each["similarity"] for each in said["subjects"]]
        assert shares == sorted(shares, reverse=True)
        box = face["box"]
        assert said["box"]["x_min"] <= box["x"]
        assert said["box"]["x_max"] >= box["x"] + box["width"]
        assert said["box"]["probability"] == face["score"]
        assert said["age"]["low"] <= face["age"] <= said["age"]["high"]
        assert said["gender"]["value"] == face["gender"]
        assert said["pose"] == face["pose"]
        points = {mark["name"]: [round(mark["x"]), round(mark["y"])] for mark in face["landmarks"]}
        assert said["landmarks"][0] == points["left_eye_centre"]
        assert said["landmarks"][2] == points["nose_tip"]


@settings(max_examples=12, deadline=None)
@given(people=PEOPLE, take=TAKES)
def test_rekognition_says_what_we_say(served: Served, people: list[int], take: int):
    data = photo(*people, take=take)
    largest = ours(served, data)[0]
    found = amazon(served, "SearchFacesByImage", data, CollectionId="compreface", FaceMatchThreshold=0)["FaceMatches"]
    matched = {match["Face"]["ExternalImageId"] for match in found if match["Similarity"] >= 80}
    assert matched == largest["matched"]
    told = amazon(served, "DetectFaces", data, Attributes=["ALL"])["FaceDetails"]
    for said, face in zip(told, ours(served, data), strict=True):
        box = face["box"]
        edges = (box["x"] / 8, box["y"] / 6, box["width"] / 8, box["height"] / 6)
        assert tuple(said["BoundingBox"][name] for name in ("Left", "Top", "Width", "Height")) == pytest.approx(edges)
        assert said["AgeRange"]["Low"] <= face["age"] <= said["AgeRange"]["High"]
        assert said["Gender"]["Value"].lower() == face["gender"]
        assert said["Smile"]["Value"] is (face["smile"] >= 0.5)
        assert {name.lower(): value for name, value in said["Pose"].items()} == face["pose"]


@settings(max_examples=12, deadline=None)
@given(first=st.integers(1, 255), second=st.integers(1, 255), take=TAKES)
def test_comparisons_of_two_photos_agree(served: Served, first: int, second: int, take: int):
    photos = [photo(first), photo(second, take=take)]
    compared = served.client.post("/v1/compare", json={"images": [b64(each) for each in photos]}).json()
    both = {"source_image": b64(photos[0]), "target_image": b64(photos[1])}
    answer = served.client.post("/api/v1/verification/verify", json=both).json()
    (match,) = answer["result"][0]["face_matches"]
    assert (match["similarity"] >= 0.5) is compared["matched"]
    target = {"X-Amz-Target": "RekognitionService.CompareFaces"}
    images = {"SourceImage": {"Bytes": both["source_image"]}, "TargetImage": {"Bytes": both["target_image"]}}
    found = served.client.post("/compat/rekognition", headers=target, json=images).json()["FaceMatches"]
    assert bool(found) is compared["matched"]
