"""Details of the OpenAPI document that no route declares: rules of names, examples, and which statuses can occur."""

from __future__ import annotations

from service.errors import MEDIA_TYPE
from service.gallery import MAX_NAME
from service.http.uploads import OpenApi

PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
NAME = {"pattern": r"^[^/\x00-\x1f\x7f]+$", "minLength": 1, "maxLength": MAX_NAME}
"""A name has 1 to 256 bytes of UTF-8, a limit that JSON Schema cannot express, and is neither `.` nor `..`."""
PARAMETERS = {
    "collection": (NAME, "staff"),
    "subject": (NAME, "ada"),
    "medium": (NAME, "6f1c2a9b3d4e5f60718293a4b5c6d7e8"),
    "job_id": ({"pattern": "^[0-9a-f]{32}$"}, "0c1dbbe817d25e230c1dbbe817d25e23"),
    "key": ({"pattern": "^[0-9a-f]{12}$"}, "829f26264a8e"),
}
"""For each parameter of a path the rule for its values, and an example."""
MEANINGS = {
    "collection": "name of the collection",
    "subject": "name of the subject",
    "medium": "id of a medium of the subject",
    "job_id": "id of the job, as the answer to `POST /v1/jobs` names it",
    "key": "id of the API key: the twelve digits after `face_`",
    "idempotency-key": "a name that the caller makes up: the same request sent again with it makes no second job",
    "face-passphrase": "the passphrase with which the file was exported",
    "drop": "let those whose photos were not all kept stay as subjects without a template",
}
"""What parameters mean that their routes do not describe."""
PHOTO = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAIAAABxZ0isAAAAIElEQVQIHW3BAQEAAAABIJ"
    "433QFV5CnyFHmKPEWeIs8ABFAJBzK03cQAAAAASUVORK5CYII="
)
"""A grey picture of 8 × 6 pixels, so that trying an example works."""
VIDEO = (
    "R0lGODlhCAAGAIEAAHh4eAAAAAAAAAAAACH5BAAKAAAALAAAAAAIAAYAAAgOAAEIHEiwoMGD"
    "CBMODAgAIfkEAQoAAQAsAAAAAAgABgCBjIyMAAAAAAAAAAAACA4AAQgcSLCgwYMIEw4MCAA7"
)
"""Two pictures of 8 × 6 pixels, one after the other."""
BODIES: dict[str, object] = {
    "follow": {"image": VIDEO},
    "create_job": {"images": [PHOTO, PHOTO]},
    "compare": {"images": [PHOTO, PHOTO]},
    "cluster": {"images": [PHOTO, PHOTO]},
    "cluster_with_names": {"images": [PHOTO, PHOTO]},
    "put_collection": {"keep_photos": True, "ttl": 7_776_000},
    "put_subject": {"metadata": {"department": "physics"}},
    "create_key": {"label": "door", "roles": ["verify"], "rate": 5},
    "rotate_key": {"grace": 3600},
    "export_collection": {"passphrase": "correct horse battery"},
    "rename": {"name": "ada lovelace"},
    "merge_collections": {"source": "guests"},
}
"""JSON bodies by the names of operations; those that take a photo and nothing else are not listed."""
OF_BODIES = ("408", "413", "415")
WITHOUT_CONFLICT = frozenset(
    {"list_collections", "get_collection", "list_subjects", "list_keys", "create_key", "rotate_key", "revoke_key"}
)
"""Operations that no state of what is stored stands against; they never answer 409."""
NOT_FOUND = "what the path names is not there, or not for this key"
CONFLICT = "what is stored stands against it"


def describe_parameters(operation: OpenApi) -> None:
    """Give all parameters descriptions, and those of paths the rules for their values and examples."""
    for parameter in operation.get("parameters", []):
        described = parameter["schema"].get("description", MEANINGS.get(parameter["name"]))
        parameter.setdefault("description", described)
        if parameter["in"] == "path" and parameter["name"] in PARAMETERS:
            rule, example = PARAMETERS[parameter["name"]]
            parameter["schema"] |= rule
            parameter["example"] = example


def describe_body(operation: OpenApi) -> None:
    """Give the JSON body an example: that of BODIES, or a photo where the operation takes photos."""
    content = operation.get("requestBody", {}).get("content", {})
    example = BODIES.get(operation["operationId"], {"image": PHOTO} if "image/*" in content else None)
    if "application/json" in content and example is not None:
        content["application/json"]["example"] = example


def describe_statuses(path: str, method: str, operation: OpenApi) -> None:
    """Name the statuses that the operation can have: routers describe those of all their routes together."""
    responses = operation["responses"]
    never = set[str]()
    if "requestBody" not in operation:
        never.update(OF_BODIES)
    if "{" in path:
        responses.setdefault("404", {"description": NOT_FOUND, "content": PROBLEM})
    elif operation["operationId"] != "cluster":  # whose query may name a job
        never.add("404")
    if operation["operationId"] in WITHOUT_CONFLICT:
        never.add("409")
    if operation["operationId"] == "create_job":
        responses.setdefault("409", {"description": CONFLICT, "content": PROBLEM})
    if method == "get":
        never.add("507")
    for status in never:
        responses.pop(status, None)
