"""Signatures of requests as Amazon's clients make them (Signature Version 4), where the key is the secret too.

The key travels with the request, so the signature proves no more than that the request arrived as it was sent. Clients
may have any secret beside their key, and nothing tells a wrong signature from one with another secret: so the id of the
access key says that the key is the secret too, as docs/compatibility.md has it: `face`, or the id of the key.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import quote

from fastapi import Request

from service.http.compat.errors import SignatureMismatch
from service.keys import Key

ALGORITHM = "AWS4-HMAC-SHA256"
DECLARED = "face"
"""The id of an access key that says so; `face_` and the id of the key does as well."""
HEADER = re.compile(
    rf"{ALGORITHM} Credential=(?P<id>[^/]+)/(?P<scope>[^,]+), *SignedHeaders=(?P<names>[^,]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


def check_signature(request: Request, body: bytes) -> None:
    """Check the signature where the access key's id says that the key is the secret. Raises SignatureMismatch."""
    key: Key | None = request.state.key
    match = HEADER.fullmatch(request.headers.get("authorization", ""))
    if key is None or match is None or match["id"] not in (DECLARED, f"{DECLARED}_{key.id}"):
        return
    secret = request.headers.get("x-amz-security-token", "")
    if not hmac.compare_digest(_signature(request, body, secret, match["scope"], match["names"]), match["signature"]):
        raise SignatureMismatch


def _signature(request: Request, body: bytes, secret: str, scope: str, names: str) -> str:
    headers = "".join(f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names.split(";"))
    path = quote(request.scope["raw_path"].decode("ascii"), safe="/-_.~")
    query = request.scope["query_string"].decode("ascii")
    canonical = "\n".join(["POST", path, query, headers, names, hashlib.sha256(body).hexdigest()])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    string_to_sign = "\n".join([ALGORITHM, request.headers.get("x-amz-date", ""), scope, digest])
    signing_key = f"AWS4{secret}".encode()
    for part in (*scope.split("/"), string_to_sign):
        signing_key = hmac.digest(signing_key, part.encode(), "sha256")
    return signing_key.hex()
