"""Calls of administrators: collections on the move, and API keys."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from service.client.call import Call, as_bytes, as_model, as_nothing, collection_path, segment
from service.schemas.admin import KeyRotated, Keys, Merged, NewKey, Renewed
from service.schemas.collections import CollectionResponse
from service.schemas.names import Role


def export(collection: str, passphrase: str) -> Call[bytes]:
    """Return a collection as one file that is encrypted with a passphrase."""
    path = f"{collection_path(collection)}/export"
    return Call("POST", path, as_bytes, json={"passphrase": passphrase}, unlimited=True)


def import_(collection: str, file: bytes, passphrase: str) -> Call[CollectionResponse]:
    """Create a collection from an exported file, which `passphrase` decrypts."""
    path = f"{collection_path(collection)}/import"
    headers = {"Face-Passphrase": passphrase.encode()}
    return Call("POST", path, as_model(CollectionResponse), content=file, headers=headers, unlimited=True)


def merge(source: str, target: str) -> Call[Merged]:
    """Add the subjects and media of `source` to `target`; `source` stays as it is."""
    return Call("POST", f"{collection_path(target)}/merge", as_model(Merged), json={"source": source}, unlimited=True)


def re_enrol(collection: str, drop: bool = False) -> Call[Renewed]:
    """Enrol a collection again from its kept photos, under the model that answers now.

    Nothing changes if photos of somebody are missing, unless `drop` is True: such people then keep only the media that
    could be enrolled again.
    """
    path = f"{collection_path(collection)}/re-enrol"
    return Call("POST", path, as_model(Renewed), {"drop": drop}, unlimited=True)


def rotate_collection_key(collection: str) -> Call[KeyRotated]:
    """Encrypt a collection under a new key while it is in use; the old key is deleted."""
    return Call("POST", f"{collection_path(collection)}/rotate-key", as_model(KeyRotated), unlimited=True)


def create_key(
    label: str,
    roles: Sequence[Role],
    *,
    rate: float | None = None,
    burst: int | None = None,
    expires: float | None = None,
    collections: Sequence[str] | None = None,
) -> Call[NewKey]:
    """Make an API key, which is shown in this answer and never again.

    `expires` is seconds since 1970. With `collections`, names or prefixes with * at the end, it reaches no others.
    """
    options: dict[str, JsonValue] = {
        "label": label,
        "roles": list(roles),
        "rate": rate,
        "burst": burst,
        "expires": expires,
        "collections": None if collections is None else list(collections),
    }
    body: JsonValue = {name: value for name, value in options.items() if value is not None}
    return Call("POST", "/v1/keys", as_model(NewKey), json=body)


def rotate_key(key_id: str, *, grace: float = 0.0) -> Call[NewKey]:
    """Give an API key a new secret, shown in this answer; the old one works for `grace` seconds more."""
    path = f"/v1/keys/{segment(key_id)}/rotate"
    return Call("POST", path, as_model(NewKey), json={"grace": grace})


def keys() -> Call[Keys]:
    """List the API keys, without their secrets."""
    return Call("GET", "/v1/keys", as_model(Keys))


def revoke_key(key_id: str) -> Call[None]:
    """Revoke an API key by its id."""
    return Call("DELETE", f"/v1/keys/{segment(key_id)}", as_nothing)
