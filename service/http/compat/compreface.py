"""What CompreFace's callers send, read, and a face as they expect it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from service.config import Settings
from service.errors import InvalidJson, InvalidRequest, NoImage, UnsupportedContentType
from service.http.compat import JsonObject
from service.http.compat.errors import MissingParameter, NotOneCollection
from service.http.compat.faces import age_bounds, five_points
from service.http.forms import read_form
from service.http.options import invalid_request
from service.jobs.archive import photo_from_base64
from service.keys import Key
from service.wire import AnalysisResult, FaceResult, Options

KEYLESS_COLLECTION = "compreface"
"""The collection where API keys are off."""
PAGE_SIZE = 20
LARGEST_PAGE = 2000
Body = TypeVar("Body")
Query = TypeVar("Query", bound=BaseModel)


class FacesQuery(BaseModel):
    """The query of every call with a photo; other parameters are ignored, as CompreFace does."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    limit: int = Field(0, ge=0)
    det_prob_threshold: float | None = Field(None, ge=0, le=1)
    face_plugins: str = ""
    status: bool = False
    prediction_count: int = Field(1, ge=1, le=1000)

    @property
    def plugins(self) -> frozenset[str]:
        """Return the names of the plugins asked for; there is no mask among those that are answered."""
        return frozenset(name.strip() for name in self.face_plugins.split(","))

    def options(self, max_faces: int, compared: bool) -> Options:
        """Return the options of the analysis: at most `max_faces`, and `compared` for the vectors that are compared."""
        return Options(
            max_faces=min(self.limit, max_faces) if self.limit else max_faces,
            min_score=self.det_prob_threshold,
            landmarks="landmarks" in self.plugins,
            template=compared or "calculator" in self.plugins,
        )


class PageQuery(BaseModel):
    """The query of a list of faces: pages are counted from 0."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    page: int = Field(0, ge=0)
    size: int = Field(PAGE_SIZE, ge=1)
    subject: str | None = None


class _Photos(msgspec.Struct):
    """The photos of a JSON body; what else it holds is skipped unread."""

    file: str = ""
    source_image: str = ""
    target_image: str = ""


class NamedSubject(msgspec.Struct):
    """The body of a request that makes or renames a subject."""

    subject: str


class Embeddings(msgspec.Struct):
    """The body of embeddings to recognize or to compare with a stored face."""

    embeddings: list[list[float]]


class SourceAndTargets(msgspec.Struct):
    """The body of an embedding to compare with others."""

    source: list[float]
    targets: list[list[float]]


def service_collection(request: Request) -> str:
    """Return the collection of the caller's key, as the key of a CompreFace service names it.

    Raises NotOneCollection for a key of all collections, of several, or of a prefix.
    """
    key: Key | None = request.state.key
    if key is None:
        name = KEYLESS_COLLECTION
    elif len(key.collections) == 1 and not key.collections[0].endswith("*"):
        name = key.collections[0]
    else:
        raise NotOneCollection(
            "this call needs a key of exactly one collection: `allinone-face keys create NAME --role ROLE --collection "
            "COLLECTION`"
        )
    request.state.audited = {"collection": name}
    return name


def read_query(request: Request, kind: type[Query]) -> Query:
    """Return the query parameters as a model of this kind. Raises InvalidRequest."""
    try:
        return kind.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise invalid_request(error.errors()) from error


def required_subject(request: Request) -> str:
    """Return the subject that the query names. Raises MissingParameter, InvalidRequest for a blank name."""
    subject = request.query_params.get("subject")
    if subject is None:
        raise MissingParameter("Missing parameter: subject")
    if not subject.strip():
        raise InvalidRequest("subject: a name is needed")
    request.state.audited |= {"subject": subject}
    return subject


async def read_photos(request: Request, *names: str) -> list[bytes]:
    """Return the photos of these fields of a form, or of a JSON body in base64, in the order of the names.

    Raises NoImage for one that is missing, and what is wrong with the body.
    """
    settings: Settings = request.app.state.settings
    content_type = request.headers.get("content-type", "")
    kind = content_type.split(";")[0].strip().lower()
    photos: Mapping[str, bytes]
    if kind == "multipart/form-data":
        form = await read_form(content_type, request.stream(), settings.max_images)
        photos = dict(zip(form.file_fields, form.files, strict=True))
    elif kind == "application/json":
        body = await request.body()
        photos = await run_in_threadpool(_photos_of_json, body)
    else:
        raise UnsupportedContentType("send multipart/form-data, or application/json with base64")
    for name in names:
        if not photos.get(name):
            raise NoImage(f"Missing part: {name}")
    return [photos[name] for name in names]


async def read_json(request: Request, kind: type[Body]) -> Body:
    """Return the JSON body as this type. Raises InvalidJson, InvalidRequest for another type."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the body is not valid: {error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error


def _photos_of_json(body: bytes) -> dict[str, bytes]:
    try:
        texts = msgspec.structs.asdict(msgspec.json.decode(body, type=_Photos))
    except msgspec.ValidationError as error:
        raise InvalidRequest("a photo is a base64 string") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidJson from error
    try:
        return {name: photo_from_base64(text) for name, text in texts.items()}
    except ValueError as error:
        raise InvalidRequest("a photo is not valid base64") from error


def face_answer(face: FaceResult, result: AnalysisResult, query: FacesQuery) -> JsonObject:
    """Return a face with what its plugins tell; boxes end at the edge of the photo."""
    width, height = result.analysis.width, result.analysis.height
    box = {
        "probability": face.score,
        "x_min": max(0, math.floor(face.box.x)),
        "y_min": max(0, math.floor(face.box.y)),
        "x_max": min(width, math.ceil(face.box.x + face.box.width)),
        "y_max": min(height, math.ceil(face.box.y + face.box.height)),
    }
    answer: JsonObject = {"box": box}
    if "age" in query.plugins:
        low, high = age_bounds(face)
        answer["age"] = {"low": low, "high": high}
    if "gender" in query.plugins:
        answer["gender"] = {"value": face.gender, "probability": max(face.female, 1 - face.female)}
    if "pose" in query.plugins:
        answer["pose"] = {"pitch": face.pose.pitch, "roll": face.pose.roll, "yaw": face.pose.yaw}
    if "landmarks" in query.plugins:
        answer["landmarks"] = [[round(x), round(y)] for x, y in five_points(face)]
    if "calculator" in query.plugins and face.vector is not None:
        answer["embedding"] = memoryview(face.vector).cast("f").tolist()
    if query.status:
        answer["execution_time"] = {"detector": round(1000 * sum(result.timings.values()), 1)}
    return answer


def versions(result: AnalysisResult, query: FacesQuery) -> JsonObject:
    """Return which model answered, where the caller asked for the status."""
    if not query.status:
        return {}
    names = sorted({"detector", *(query.plugins & {"age", "gender", "pose", "landmarks", "calculator"})})
    return {"plugins_versions": dict.fromkeys(names, f"allinone-face.{result.model[:12]}")}
