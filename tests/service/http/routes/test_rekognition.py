"""Amazon Rekognition's calls as boto3 makes them; every answer is checked against Amazon's model of the service."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import ParamValidator

from service.config import Settings
from service.gallery.resources import open_keys
from service.http.compat.endpoints import REKOGNITION_ENDPOINTS
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, b64

pytestmark = pytest.mark.slow

ADA, BOB, EVE = 1, 2, 3
QUICK = Config(retries={"total_max_attempts": 1})
MODEL = get_session().get_service_model("rekognition")
PATH = "/compat/rekognition"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("rekognition"), api_keys="on", compat="rekognition")


@pytest.fixture(scope="module")
def served(settings: Settings) -> Iterator[Served]:
    with people_served(settings) as running:
        yield running


def token(settings: Settings, *roles: str, collections: tuple[str, ...] = ()) -> str:
    with open_keys(settings) as keys:
        return keys.create("test", roles, collections=collections)[1]


def rekognition(served: Served, key: str, **how: str) -> Any:
    """Return boto3's client; every answer that it reads must be known to Amazon's model member by member."""
    words = {"aws_access_key_id": "face", "aws_secret_access_key": key, "aws_session_token": key} | how
    client = boto3.client(
        "rekognition", endpoint_url=f"{served.url}{PATH}", region_name="us-east-1", config=QUICK, **words
    )
    client.meta.events.register("after-call.rekognition.*", check_answer)
    return client


def check_answer(http_response: Any, parsed: dict, model: Any, **_: object) -> None:
    """Check a raw answer against the shape of its operation: known members only, of the right types."""
    if http_response.status_code >= 400:
        return
    answer = httpx.Response(200, content=http_response.content).json()
    assert known_members(answer, model.output_shape), (model.name, answer)
    assert (
        not ParamValidator()
        .validate({name: value for name, value in parsed.items() if name != "ResponseMetadata"}, model.output_shape)
        .has_errors()
    )


def known_members(value: Any, shape: Any) -> bool:
    if shape.type_name == "structure":
        return set(value) <= set(shape.members) and all(known_members(v, shape.members[n]) for n, v in value.items())
    if shape.type_name == "list":
        return all(known_members(item, shape.member) for item in value)
    return not shape.enum or value in shape.enum if shape.type_name == "string" else True


@pytest.fixture
def client(settings: Settings, served: Served) -> Any:
    return rekognition(served, token(settings, "admin"))


@pytest.fixture
def staff(client: Any) -> str:
    """A new collection."""
    name = uuid.uuid4().hex
    client.create_collection(CollectionId=name)
    return name


def code(caught: pytest.ExceptionInfo[ClientError]) -> str:
    return caught.value.response["Error"]["Code"]


def index(client: Any, collection: str, data: bytes, name: str | None = None, **how: object) -> list[str]:
    """Index the faces of a photo; return their ids."""
    words = {"ExternalImageId": name} if name else {}
    answer = client.index_faces(CollectionId=collection, Image={"Bytes": data}, **words, **how)
    return [record["Face"]["FaceId"] for record in answer["FaceRecords"]]


def known(face: dict) -> dict:
    """Return what is known of a stored face beside its place, which is as it was when the face was indexed."""
    assert face["BoundingBox"]["Width"] == 1 / 8
    assert face["Confidence"] == pytest.approx(90)
    assert str(uuid.UUID(face["ImageId"])) == face["ImageId"]
    return {name: value for name, value in face.items() if name not in ("BoundingBox", "Confidence", "ImageId")}


def test_faces_with_the_attributes_asked_for(client: Any):
    (plain, _) = client.detect_faces(Image={"Bytes": photo(ADA, BOB)})["FaceDetails"]
    assert set(plain) == {"BoundingBox", "Confidence", "Landmarks", "Pose", "Quality"}
    assert plain["BoundingBox"] == {"Left": 0, "Top": 0, "Width": 1 / 8, "Height": 1 / 6}
    assert {mark["Type"] for mark in plain["Landmarks"]} == {"eyeLeft", "eyeRight", "nose", "mouthLeft", "mouthRight"}
    (full,) = client.detect_faces(Image={"Bytes": photo(ADA)}, Attributes=["ALL"])["FaceDetails"]
    assert full["AgeRange"] == {"Low": 30, "High": 30}
    assert full["Gender"] == {"Value": "Female", "Confidence": 50}
    assert full["Smile"] == {"Value": True, "Confidence": 50}
    assert len(full["Landmarks"]) == 18
    assert not {"Emotions", "Beard", "Eyeglasses", "FaceOccluded"} & set(full), "nobody measured these"
    (some,) = client.detect_faces(Image={"Bytes": photo(ADA)}, Attributes=["DEFAULT", "SMILE"])["FaceDetails"]
    assert "Smile" in some
    assert "Gender" not in some
    assert client.detect_faces(Image={"Bytes": photo()})["FaceDetails"] == []


def test_comparing_two_photos(client: Any):
    source, target = {"Bytes": photo(ADA, BOB)}, {"Bytes": photo(BOB, ADA, take=2)}
    answer = client.compare_faces(SourceImage=source, TargetImage=target)
    (match,) = answer["FaceMatches"]
    assert match["Face"]["BoundingBox"]["Left"] == 1 / 8
    assert match["Similarity"] >= 80
    assert [face["BoundingBox"]["Left"] for face in answer["UnmatchedFaces"]] == [0]
    everybody = client.compare_faces(SourceImage=source, TargetImage=target, SimilarityThreshold=0)
    assert [match["Similarity"] >= 80 for match in everybody["FaceMatches"]] == [True, False]
    for pair in ({"SourceImage": {"Bytes": photo()}}, {"TargetImage": {"Bytes": photo()}}):
        with pytest.raises(ClientError) as caught:
            client.compare_faces(**{"SourceImage": source, "TargetImage": target} | pair)
        assert code(caught) == "InvalidParameterException"


def test_collections(client: Any):
    names = {f"c{number}-{uuid.uuid4().hex}" for number in range(3)}
    for name in names:
        assert client.create_collection(CollectionId=name)["StatusCode"] == 200
    name = min(names)
    with pytest.raises(client.exceptions.ResourceAlreadyExistsException):
        client.create_collection(CollectionId=name)
    pages = list(client.get_paginator("list_collections").paginate(PaginationConfig={"PageSize": 2}))
    assert names <= {each for page in pages for each in page["CollectionIds"]}
    described = client.describe_collection(CollectionId=name)
    assert (described["FaceCount"], described["UserCount"]) == (0, 0)
    assert described["CreationTimestamp"].year >= 2024
    assert client.delete_collection(CollectionId=name)["StatusCode"] == 200
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_collection(CollectionId=name)
    with pytest.raises(client.exceptions.InvalidPaginationTokenException):
        client.list_collections(NextToken="no token")


def test_indexed_faces_are_found(client: Any, staff: str):
    (ada,) = index(client, staff, photo(ADA), "ada")
    (bob,) = index(client, staff, photo(BOB))
    found = client.search_faces_by_image(CollectionId=staff, Image={"Bytes": photo(ADA, BOB, take=2)})
    assert found["SearchedFaceBoundingBox"]["Left"] == 0
    (match,) = found["FaceMatches"]
    assert match["Similarity"] >= 80
    assert known(match["Face"]) == {"FaceId": ada, "ExternalImageId": "ada"}
    all_of_them = client.search_faces_by_image(
        CollectionId=staff, Image={"Bytes": photo(ADA, take=2)}, FaceMatchThreshold=0
    )["FaceMatches"]
    assert [(match["Face"]["FaceId"], match["Similarity"] >= 80) for match in all_of_them] == [
        (ada, True),
        (bob, False),
    ]
    assert not client.search_faces_by_image(CollectionId=staff, Image={"Bytes": photo(EVE)})["FaceMatches"]
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.search_faces_by_image(CollectionId=staff, Image={"Bytes": photo()})
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.search_faces_by_image(CollectionId="nowhere", Image={"Bytes": photo(ADA)})
    assert client.describe_collection(CollectionId=staff)["FaceCount"] == 2


def test_faces_of_one_photo_are_different_people(client: Any, staff: str):
    ada, bob = index(client, staff, photo(ADA, BOB), "party.jpg")
    for person, identity in ((ADA, ada), (BOB, bob)):
        (match,) = client.search_faces_by_image(CollectionId=staff, Image={"Bytes": photo(person, take=2)})[
            "FaceMatches"
        ]
        assert known(match["Face"]) == {"FaceId": identity, "ExternalImageId": "party.jpg"}
    answer = client.index_faces(CollectionId=staff, Image={"Bytes": photo(ADA, BOB, EVE)}, MaxFaces=1)
    assert len(answer["FaceRecords"]) == 1
    assert [face["Reasons"] for face in answer["UnindexedFaces"]] == [["EXCEEDS_MAX_FACES"]] * 2
    assert index(client, staff, photo()) == []


def test_every_photo_of_a_person_is_a_match_of_its_own(settings: Settings, served: Served, client: Any, staff: str):
    faces = [index(client, staff, photo(ADA, take=take), "ada")[0] for take in (1, 2, 3)]
    index(client, staff, photo(BOB), "bob")
    search = {"CollectionId": staff, "Image": {"Bytes": photo(ADA, take=2)}}
    matches = client.search_faces_by_image(**search)["FaceMatches"]
    assert {match["Face"]["FaceId"] for match in matches} == set(faces)
    assert matches[0]["Face"]["FaceId"] == faces[1], "the very photo"
    similarity = [match["Similarity"] for match in matches]
    assert similarity == sorted(similarity, reverse=True)
    assert similarity[-1] >= 80
    assert client.search_faces_by_image(**search, MaxFaces=2)["FaceMatches"] == matches[:2]
    others = client.search_faces(CollectionId=staff, FaceId=faces[0])["FaceMatches"]
    assert {match["Face"]["FaceId"] for match in others} == set(faces[1:])
    door = rekognition(served, token(settings, "verify"))
    assert [match["Face"]["FaceId"] for match in door.search_faces_by_image(**search)["FaceMatches"]] == [faces[1]]


def test_the_faces_of_one_photo_keep_its_id_and_their_places(client: Any, staff: str):
    answer = client.index_faces(CollectionId=staff, Image={"Bytes": photo(ADA, BOB)}, ExternalImageId="ada")
    records = [record["Face"] for record in answer["FaceRecords"]]
    assert len({face["ImageId"] for face in records}) == 1
    assert [face["BoundingBox"]["Left"] for face in records] == [0, 1 / 8]
    listed = {face["FaceId"]: face for face in client.list_faces(CollectionId=staff)["Faces"]}
    assert [listed[face["FaceId"]] for face in records] == records


def test_faces_of_low_quality_are_left_out_unless_nothing_is_filtered(client: Any, staff: str):
    blurred = {"Bytes": photo(ADA, quality=0.1)}
    answer = client.index_faces(CollectionId=staff, Image=blurred)
    assert (answer["FaceRecords"], answer["UnindexedFaces"][0]["Reasons"]) == ([], ["LOW_SHARPNESS"])
    assert client.index_faces(CollectionId=staff, Image=blurred, QualityFilter="NONE")["FaceRecords"]


def test_a_stored_face_is_searched_for(client: Any, staff: str):
    first, second = (index(client, staff, photo(ADA, take=take))[0] for take in (1, 2))
    index(client, staff, photo(BOB))
    answer = client.search_faces(CollectionId=staff, FaceId=first)
    assert answer["SearchedFaceId"] == first
    assert [match["Face"]["FaceId"] for match in answer["FaceMatches"]] == [second]
    named = [index(client, staff, photo(EVE, take=take), "eve")[0] for take in (1, 2)]
    (match,) = client.search_faces(CollectionId=staff, FaceId=named[0])["FaceMatches"]
    assert known(match["Face"]) == {"FaceId": named[1], "ExternalImageId": "eve"}
    with pytest.raises(client.exceptions.InvalidParameterException):
        client.search_faces(CollectionId=staff, FaceId=str(uuid.uuid4()))


def test_faces_are_listed_and_deleted(client: Any, staff: str):
    faces = [index(client, staff, photo(person), "x" if person < 5 else None)[0] for person in range(2, 8)]
    pages = list(client.get_paginator("list_faces").paginate(CollectionId=staff, PaginationConfig={"PageSize": 2}))
    assert [len(page["Faces"]) for page in pages] == [2, 2, 2]
    assert {face["FaceId"] for page in pages for face in page["Faces"]} == set(faces)
    (one,) = client.list_faces(CollectionId=staff, FaceIds=[faces[0]])["Faces"]
    assert known(one) == {"FaceId": faces[0], "ExternalImageId": "x"}
    unknown = str(uuid.uuid4())
    answer = client.delete_faces(CollectionId=staff, FaceIds=[faces[0], faces[-1], unknown])
    assert set(answer["DeletedFaces"]) == {faces[0], faces[-1]}
    assert answer["UnsuccessfulFaceDeletions"] == [{"FaceId": unknown, "Reasons": ["FACE_NOT_FOUND"]}]
    left = client.list_faces(CollectionId=staff)["Faces"]
    assert {face["FaceId"] for face in left} == set(faces[1:-1])
    with pytest.raises(client.exceptions.InvalidPaginationTokenException):
        client.list_faces(CollectionId=staff, NextToken="xyz:1")


def test_nothing_is_left_of_a_face_that_is_deleted(settings: Settings, served: Served, client: Any, staff: str):
    (face,) = index(client, staff, photo(ADA))
    client.delete_faces(CollectionId=staff, FaceIds=[face])
    headers = {"Authorization": f"Bearer {token(settings, 'admin')}"}
    assert served.client.get(f"/v1/collections/{staff}/subjects", headers=headers).json()["subjects"] == []


def test_users_have_faces(client: Any, staff: str):
    first, second = index(client, staff, photo(ADA), "ada.jpg"), index(client, staff, photo(ADA, take=2))
    bob = index(client, staff, photo(BOB))
    client.create_user(CollectionId=staff, UserId="ada")
    with pytest.raises(client.exceptions.ConflictException):
        client.create_user(CollectionId=staff, UserId="ada")
    assert client.search_users_by_image(CollectionId=staff, Image={"Bytes": photo(ADA, take=3)})["UserMatches"] == []
    unknown = str(uuid.uuid4())
    answer = client.associate_faces(CollectionId=staff, UserId="ada", FaceIds=[*first, *second, *bob, unknown])
    assert [face["FaceId"] for face in answer["AssociatedFaces"]] == [*first, *second]
    reasons = {face["FaceId"]: face["Reasons"] for face in answer["UnsuccessfulFaceAssociations"]}
    assert reasons == {bob[0]: ["LOW_MATCH_CONFIDENCE"], unknown: ["FACE_NOT_FOUND"]}
    (match,) = client.search_users_by_image(CollectionId=staff, Image={"Bytes": photo(ADA, take=3)})["UserMatches"]
    assert (match["User"]["UserId"], match["Similarity"] >= 80) == ("ada", True)
    assert not client.search_users_by_image(CollectionId=staff, Image={"Bytes": photo(BOB, take=3)})["UserMatches"]
    best, other = client.search_faces_by_image(CollectionId=staff, Image={"Bytes": photo(ADA, take=1)})["FaceMatches"]
    assert known(best["Face"]) == {"FaceId": first[0], "ExternalImageId": "ada.jpg", "UserId": "ada"}
    assert known(other["Face"]) == {"FaceId": second[0], "UserId": "ada"}
    assert {face["FaceId"] for face in client.list_faces(CollectionId=staff, UserId="ada")["Faces"]} == {
        *first,
        *second,
    }
    client.create_user(CollectionId=staff, UserId="eve")
    other = client.associate_faces(CollectionId=staff, UserId="eve", FaceIds=first)["UnsuccessfulFaceAssociations"]
    assert other == [{"FaceId": first[0], "UserId": "ada", "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}]
    assert client.describe_collection(CollectionId=staff)["UserCount"] == 2
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.associate_faces(CollectionId=staff, UserId="nobody", FaceIds=bob)


def test_a_key_that_only_verifies_learns_of_matches_alone(settings: Settings, served: Served, client: Any, staff: str):
    index(client, staff, photo(ADA), "ada")
    (bob,) = index(client, staff, photo(BOB), "bob")
    door = rekognition(served, token(settings, "verify"))
    search = {"CollectionId": staff, "FaceMatchThreshold": 0}
    assert door.search_faces_by_image(Image={"Bytes": photo(EVE)}, **search)["FaceMatches"] == []
    (match,) = door.search_faces_by_image(Image={"Bytes": photo(ADA, take=2)}, **search)["FaceMatches"]
    assert match["Face"]["ExternalImageId"] == "ada"
    assert door.search_faces(FaceId=bob, **search)["FaceMatches"] == []


@pytest.mark.parametrize("how", [{}, {"aws_session_token": ""}])
def test_a_key_is_the_session_token_or_the_access_key(settings: Settings, served: Served, how: dict[str, str]):
    key = token(settings, "analyze")
    words = {"aws_access_key_id": key, "aws_session_token": None} if how else {}
    client = rekognition(served, key, **words)
    assert client.detect_faces(Image={"Bytes": photo(ADA)})["FaceDetails"]


def test_a_signature_counts_where_the_access_key_says_that_the_key_is_the_secret(settings: Settings, served: Served):
    key = token(settings, "analyze")
    image = {"Bytes": photo(ADA)}
    for identity in ("face", "_".join(key.split("_", 2)[:2])):
        assert rekognition(served, key, aws_access_key_id=identity).detect_faces(Image=image)["FaceDetails"]
        with pytest.raises(ClientError) as caught:
            rekognition(served, key, aws_access_key_id=identity, aws_secret_access_key="other").detect_faces(
                Image=image
            )
        assert code(caught) == "InvalidSignatureException"
    for identity in ("AKIAIOSFODNN7EXAMPLE", "face_000000000000"):
        client = rekognition(served, key, aws_access_key_id=identity, aws_secret_access_key="other")
        assert client.detect_faces(Image=image)["FaceDetails"]


def test_a_request_that_was_changed_on_its_way(settings: Settings, served: Served):
    client = rekognition(served, token(settings, "analyze"))

    def change(request: Any, **_: object) -> None:
        request.body = request.body.replace(b'"DEFAULT"', b'"NOTHING"')

    client.meta.events.register("before-send.rekognition.*", change)
    with pytest.raises(ClientError) as caught:
        client.detect_faces(Image={"Bytes": photo(ADA)}, Attributes=["DEFAULT"])
    assert code(caught) == "InvalidSignatureException"


def test_photos_and_requests_that_are_wrong(settings: Settings, served: Served, client: Any, staff: str):
    big = (
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\xff\xff\x00\x00\xff\xff\x08\x02\x00\x00\x00"
        + bytes(4)
        + (bytes(4) + b"IDAT" + bytes(4))
    )
    for data, expected in ((b"no photo", "InvalidImageFormatException"), (big, "ImageTooLargeException")):
        with pytest.raises(ClientError) as caught:
            client.detect_faces(Image={"Bytes": data})
        assert code(caught) == expected
    with pytest.raises(client.exceptions.InvalidS3ObjectException) as caught:
        client.detect_faces(Image={"S3Object": {"Bucket": "bucket", "Name": "a.jpg"}})
    assert "FACE_IMAGE_HOSTS" in str(caught.value)
    headers = {"X-Amz-Security-Token": token(settings, "admin"), "Content-Type": "application/x-amz-json-1.1"}
    wrong: list[tuple[str, Any]] = [
        ("DetectFaces", {}),
        ("DetectFaces", {"Image": {}}),
        ("DetectFaces", {"Image": {"Bytes": "?"}}),
        ("DetectFaces", {"Image": {"S3Object": {"Bucket": "evil.example/", "Name": "x"}}}),
        ("DetectFaces", []),
        ("IndexFaces", {"CollectionId": staff, "Image": {"Bytes": b64(photo(ADA))}, "MaxFaces": 0}),
        ("IndexFaces", {"CollectionId": "a/b", "Image": {"Bytes": b64(photo(ADA))}}),
        ("CompareFaces", {"SourceImage": {"Bytes": ""}, "TargetImage": {"Bytes": ""}, "SimilarityThreshold": 101}),
        ("SearchFacesByImage", {"CollectionId": staff, "Image": {"Bytes": b64(photo(ADA))}, "FaceMatchThreshold": -1}),
    ]
    for operation, body in wrong:
        target = {"X-Amz-Target": f"RekognitionService.{operation}"}
        answer = served.client.post(PATH, headers=headers | target, json=body)
        assert (answer.status_code, answer.json()["__type"]) == (400, "InvalidParameterException"), (operation, body)
        assert answer.headers["content-type"] == "application/x-amz-json-1.1"
    for operation in ("DetectText", "", "../DetectFaces"):
        answer = served.client.post(
            PATH, headers=headers | {"X-Amz-Target": f"RekognitionService.{operation}"}, json={}
        )
        assert answer.json()["__type"] == "UnknownOperationException"


def test_keys_that_do_not_fit(settings: Settings, served: Served):
    for key, expected in (
        (f"face_{'0' * 12}_{'A' * 43}", "UnrecognizedClientException"),
        (token(settings, "analyze"), "AccessDeniedException"),
    ):
        with pytest.raises(ClientError) as caught:
            rekognition(served, key).create_collection(CollectionId="x")
        assert code(caught) == expected


def test_the_audit_log_knows_the_collection(tmp_path: Path):
    settings = Settings(data_dir=tmp_path, api_keys="on", compat="rekognition")
    with people_served(settings) as served:
        rekognition(served, token(settings, "admin")).create_collection(CollectionId="staff")
    line = (tmp_path / "audit.jsonl").read_text()
    assert '"action": "POST /compat/rekognition/CreateCollection"' in line
    assert '"collection"' in line
    assert "staff" not in line


def test_photos_of_a_listed_bucket(tmp_path: Path):
    settings = Settings(data_dir=tmp_path, compat="rekognition", image_hosts="bucket.s3.amazonaws.com")
    with people_served(settings) as served:
        body = {"Image": {"S3Object": {"Bucket": "bucket", "Name": "a.jpg"}}}
        target = {"X-Amz-Target": "RekognitionService.DetectFaces"}
        answer = served.client.post(PATH, headers=target, json=body)
        assert "cannot be reached" in answer.json()["message"] or "could not be fetched" in answer.json()["message"]


def test_every_operation_is_one_of_amazons():
    assert {path.rpartition("/")[2] for _, path, _, _ in REKOGNITION_ENDPOINTS} <= set(MODEL.operation_names)
