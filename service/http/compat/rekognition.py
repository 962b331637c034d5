"""What Amazon Rekognition's callers send, read, and a face as they expect it.

The members of requests and answers are those of botocore's service model; what we cannot know is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Literal, TypeVar
from urllib.parse import quote

import msgspec
from fastapi import Request, Response
from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import InvalidJson, InvalidRequest
from service.http.compat import JsonObject
from service.http.compat.errors import AMAZON_JSON, InvalidS3Object
from service.http.compat.faces import age_bounds, check_scope
from service.http.compat.signature import check_signature
from service.outbound.fetch import Fetcher
from service.wire import AnalysisResult, Box, FaceResult, Quality

DEFAULT_THRESHOLD = 80.0
DEFAULT_MATCHES = 80
ALL_ATTRIBUTES = frozenset({"AGE_RANGE", "GENDER", "SMILE"})
"""The attributes beyond the default ones that are answered."""
FIVE_LANDMARKS = {
    "left_eye_centre": "eyeLeft",
    "right_eye_centre": "eyeRight",
    "nose_tip": "nose",
    "mouth_left": "mouthLeft",
    "mouth_right": "mouthRight",
}
MORE_LANDMARKS = {
    "left_brow_outer": "leftEyeBrowLeft",
    "left_brow_centre": "leftEyeBrowUp",
    "left_brow_inner": "leftEyeBrowRight",
    "right_brow_inner": "rightEyeBrowLeft",
    "right_brow_centre": "rightEyeBrowUp",
    "right_brow_outer": "rightEyeBrowRight",
    "left_eye_outer": "leftEyeLeft",
    "left_eye_inner": "leftEyeRight",
    "right_eye_inner": "rightEyeLeft",
    "right_eye_outer": "rightEyeRight",
    "nose_left": "noseLeft",
    "nose_right": "noseRight",
    "chin": "chinBottom",
}
REASONS = {"sharpness": "LOW_SHARPNESS", "size": "SMALL_BOUNDING_BOX", "pose": "EXTREME_POSE"}
BUCKET = re.compile(r"[0-9A-Za-z.\-]{3,63}")
Message = TypeVar("Message", bound="_Request")
Percent = float


class _Request(msgspec.Struct, rename="pascal", kw_only=True):
    """The members of a request; others are skipped unread."""


class S3Object(_Request):
    """A photo by its bucket and its name in the bucket."""

    bucket: str = ""
    name: str = ""


class Image(_Request):
    """A photo: its bytes, sent as base64, or an object in a bucket."""

    data: bytes = msgspec.field(default=b"", name="Bytes")
    s3_object: S3Object | None = None


class DetectFaces(_Request):
    """Ask for the faces of a photo, with the named groups of attributes."""

    image: Image
    attributes: list[str] = []


class CompareFaces(_Request):
    """Ask which faces of the target photo are of the person in the source photo."""

    source_image: Image
    target_image: Image
    similarity_threshold: Percent = DEFAULT_THRESHOLD


class OfCollection(_Request):
    """What all requests about one collection have in common."""

    collection_id: str


class ListCollections(_Request):
    """Ask for the names of collections, a page at a time."""

    next_token: str | None = None
    max_results: int = 100


class IndexFaces(OfCollection):
    """Ask to store the faces of a photo, the largest under `external_image_id`."""

    image: Image
    external_image_id: str | None = None
    detection_attributes: list[str] = []
    max_faces: int = 100
    quality_filter: Literal["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"] = "AUTO"


class ListFaces(OfCollection):
    """Ask for the stored faces of a collection, a page at a time, or for those named."""

    next_token: str | None = None
    max_results: int = 1000
    user_id: str | None = None
    face_ids: list[str] | None = None


class DeleteFaces(OfCollection):
    """Ask to delete the stored faces of these ids."""

    face_ids: list[str]


class SearchFaces(OfCollection):
    """Ask which stored faces are like a stored one."""

    face_id: str
    max_faces: int = DEFAULT_MATCHES
    face_match_threshold: Percent = DEFAULT_THRESHOLD


class SearchFacesByImage(OfCollection):
    """Ask which stored faces are like the largest face of a photo."""

    image: Image
    max_faces: int = DEFAULT_MATCHES
    face_match_threshold: Percent = DEFAULT_THRESHOLD


class SearchUsersByImage(OfCollection):
    """Ask which users are like the largest face of a photo."""

    image: Image
    max_users: int = DEFAULT_MATCHES
    user_match_threshold: Percent = DEFAULT_THRESHOLD


class CreateUser(OfCollection):
    """Ask to make a user, to whom stored faces can be given."""

    user_id: str


class AssociateFaces(OfCollection):
    """Ask to give stored faces to a user whom they resemble enough."""

    user_id: str
    face_ids: list[str]
    user_match_threshold: Percent = 75.0


async def read_request(request: Request, kind: type[Message]) -> Message:
    """Return the request in the body, once its signature and the key's scope are checked.

    Raises InvalidJson, InvalidRequest, SignatureMismatch, CollectionNotFound.
    """
    body = await request.body()
    check_signature(request, body)
    try:
        message = await run_in_threadpool(msgspec.json.decode, body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request is not valid: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error
    if isinstance(message, OfCollection):
        request.state.audited = {"collection": message.collection_id}
        check_scope(request, message.collection_id)
    return message


def within(name: str, value: int, low: int, high: int) -> int:
    """Return the value of the parameter `name`. Raises InvalidRequest unless low <= value <= high."""
    if not low <= value <= high:
        raise InvalidRequest(f"{name}: between {low} and {high}")
    return value


def share_of(name: str, percent: Percent) -> float:
    """Return the threshold `name`, in percent, as a share 0–1. Raises InvalidRequest beyond 0 and 100."""
    if not 0 <= percent <= 100:
        raise InvalidRequest(f"{name}: between 0 and 100")
    return percent / 100


async def photo_of(request: Request, image: Image) -> bytes:
    """Return the bytes of a photo. Raises InvalidS3Object for a bucket whose host FACE_IMAGE_HOSTS does not list."""
    settings: Settings = request.app.state.settings
    if image.s3_object is None:
        if not image.data:
            raise InvalidRequest("Image: send Bytes")
        return image.data
    bucket = image.s3_object.bucket
    if image.data or not BUCKET.fullmatch(bucket):
        raise InvalidRequest("Image: either Bytes, or an S3Object with the name of a bucket")
    host = f"{bucket}.s3.amazonaws.com"
    fetcher: Fetcher = request.app.state.fetcher
    try:
        url = f"https://{host}/{quote(image.s3_object.name)}"
        return await fetcher.get(url, int(settings.max_bytes), request.state.body.hold)
    except InvalidRequest as error:
        raise InvalidS3Object(f"send Bytes, or have {host} listed in FACE_IMAGE_HOSTS") from error


def answer(**members: Any) -> Response:
    """Return a response with these members, without those that are None."""
    present = {name: value for name, value in members.items() if value is not None}
    return Response(msgspec.json.encode(present), media_type=AMAZON_JSON)


def bounding_box(box: Box, result: AnalysisResult) -> dict[str, float]:
    """Return a box as shares of the photo's width and height."""
    width, height = result.analysis.width, result.analysis.height
    return {
        "Left": box.x / width,
        "Top": box.y / height,
        "Width": box.width / width,
        "Height": box.height / height,
    }


def face_detail(face: FaceResult, result: AnalysisResult, attributes: Collection[str] = ()) -> JsonObject:
    """Return a face with the default attributes, and those of the others that are asked for and known."""
    everything = "ALL" in attributes
    requested = ALL_ATTRIBUTES if everything else ALL_ATTRIBUTES & set(attributes)
    detail = compared_face(face, result, MORE_LANDMARKS if everything else {})
    if "AGE_RANGE" in requested:
        low, high = age_bounds(face)
        detail["AgeRange"] = {"Low": low, "High": high}
    if "GENDER" in requested:
        confidence = 100 * max(face.female, 1 - face.female)
        detail["Gender"] = {"Value": face.gender.capitalize(), "Confidence": confidence}
    if "SMILE" in requested:
        detail["Smile"] = {"Value": face.smile >= 0.5, "Confidence": 100 * max(face.smile, 1 - face.smile)}
    return detail


def compared_face(face: FaceResult, result: AnalysisResult, more_landmarks: dict[str, str] | None = None) -> JsonObject:
    """Return a face's box, confidence, landmarks, pose and sharpness."""
    width, height = result.analysis.width, result.analysis.height
    types = FIVE_LANDMARKS | (more_landmarks or {})
    detail: JsonObject = {
        "BoundingBox": bounding_box(face.box, result),
        "Confidence": 100 * face.score,
        "Pose": {"Roll": face.pose.roll, "Yaw": face.pose.yaw, "Pitch": face.pose.pitch},
    }
    if face.landmarks is not None:
        detail["Landmarks"] = [
            {"Type": types[mark.name], "X": mark.x / width, "Y": mark.y / height}
            for mark in face.landmarks
            if mark.name in types
        ]
    if face.quality is not None:
        detail["Quality"] = {"Sharpness": 100 * face.quality.sharpness}
    return detail


def unindexed_reasons(quality: Quality, gate: float) -> list[str]:
    """Return why a face is below the quality `gate`, by Rekognition's names."""
    low_factors = [name for name, value in quality.factors().items() if value < gate]
    return sorted({REASONS.get(name, "LOW_FACE_QUALITY") for name in low_factors})
