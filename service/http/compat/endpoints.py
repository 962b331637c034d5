"""The endpoints of other products' APIs: rows of the table in `service.http.auth`, and how their paths are written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from service.http.auth import BodyKind, Needs

COMPREFACE = "/api/v1"
RECOGNITION = COMPREFACE + "/recognition"
STATIC_IMAGE = COMPREFACE + "/static/{api_key}/images/{image_id}"
"""The photo of a stored face for programs that can send no header, like an <img>: the key stands in the path."""
REKOGNITION = "/compat/rekognition"
PREFIXES = {"compreface": COMPREFACE + "/", "rekognition": REKOGNITION + "/"}
"""What the paths of an API begin with, by its name in FACE_COMPAT."""
TARGET = "x-amz-target"
TARGET_PREFIX = "RekognitionService."

Rows = tuple[tuple[str, str, "Needs", "BodyKind"], ...]

COMPREFACE_ENDPOINTS: Rows = (
    ("POST", COMPREFACE + "/detection/detect", "analyze", "photos"),
    ("POST", COMPREFACE + "/verification/verify", "verify", "photos"),
    ("POST", COMPREFACE + "/verification/embeddings/verify", "templates", "small"),
    ("POST", RECOGNITION + "/recognize", "verify", "photos"),
    ("POST", RECOGNITION + "/embeddings/recognize", "templates", "small"),
    ("POST", RECOGNITION + "/embeddings/faces/{image_id}/verify", "templates", "small"),
    ("GET", RECOGNITION + "/faces", "enrol", "none"),
    ("POST", RECOGNITION + "/faces", "enrol", "photos"),
    ("DELETE", RECOGNITION + "/faces", "enrol", "none"),
    ("POST", RECOGNITION + "/faces/delete", "enrol", "small"),
    ("DELETE", RECOGNITION + "/faces/{image_id}", "enrol", "none"),
    ("GET", RECOGNITION + "/faces/{image_id}/img", "enrol", "none"),
    ("GET", STATIC_IMAGE, "enrol", "none"),
    ("POST", RECOGNITION + "/faces/{image_id}/verify", "verify", "photos"),
    ("GET", RECOGNITION + "/subjects", "enrol", "none"),
    ("POST", RECOGNITION + "/subjects", "enrol", "small"),
    ("DELETE", RECOGNITION + "/subjects", "enrol", "none"),
    ("PUT", RECOGNITION + "/subjects/{subject}", "enrol", "small"),
    ("DELETE", RECOGNITION + "/subjects/{subject}", "enrol", "none"),
)
REKOGNITION_ENDPOINTS: Rows = (
    ("POST", REKOGNITION + "/DetectFaces", "analyze", "photos"),
    ("POST", REKOGNITION + "/CompareFaces", "verify", "photos"),
    ("POST", REKOGNITION + "/SearchFaces", "verify", "small"),
    ("POST", REKOGNITION + "/SearchFacesByImage", "verify", "photos"),
    ("POST", REKOGNITION + "/SearchUsersByImage", "verify", "photos"),
    ("POST", REKOGNITION + "/ListCollections", "enrol", "small"),
    ("POST", REKOGNITION + "/DescribeCollection", "enrol", "small"),
    ("POST", REKOGNITION + "/IndexFaces", "enrol", "photos"),
    ("POST", REKOGNITION + "/ListFaces", "enrol", "small"),
    ("POST", REKOGNITION + "/DeleteFaces", "enrol", "small"),
    ("POST", REKOGNITION + "/CreateUser", "enrol", "small"),
    ("POST", REKOGNITION + "/AssociateFaces", "enrol", "small"),
    ("POST", REKOGNITION + "/CreateCollection", "admin", "small"),
    ("POST", REKOGNITION + "/DeleteCollection", "admin", "small"),
)
COMPAT_ENDPOINTS: Rows = COMPREFACE_ENDPOINTS + REKOGNITION_ENDPOINTS


def canonical_path(path: str, headers: Headers) -> str:
    """Return the path under which an endpoint stands in the table.

    CompreFace takes a slash at the end of a path. Rekognition has one path for all operations, and names the operation
    in a header: here it becomes the last part of the path.
    """
    if path.rstrip("/") == REKOGNITION:
        return f"{REKOGNITION}/{headers.get(TARGET, '').removeprefix(TARGET_PREFIX)}"
    return path.rstrip("/") if path.startswith(COMPREFACE + "/") else path


def api_of(path: str) -> str | None:
    """Return the name of the other product's API that a path belongs to, None for one of ours."""
    return next((name for name, prefix in PREFIXES.items() if path.startswith(prefix)), None)
