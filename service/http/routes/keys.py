"""API keys over HTTP, for administrators of all collections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from fastapi import APIRouter, Request

from service.errors import InvalidRequest, NotFound
from service.gallery.resources import Resources
from service.http.gallery_access import GALLERY_RESPONSES
from service.keys import Forbidden, Key
from service.keys.key_ring import KeyRing
from service.schemas.admin import KeyOptions, KeyResponse, Keys, NewKey, RotateOptions

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
router = APIRouter(prefix="/v1/keys", tags=["keys"], responses=GALLERY_RESPONSES)


@router.get("")
async def list_keys(request: Request) -> Keys:
    """List all keys, without their secrets."""
    _check_unscoped(request)
    keys = await _in_thread(request, KeyRing.keys)
    return Keys(keys=[_key_response(key, await _in_thread(request, KeyRing.last_used, key.id)) for key in keys])


@router.post("", status_code=201)
async def create_key(request: Request, options: KeyOptions) -> NewKey:
    """Make a new key; it is shown this once."""
    _check_unscoped(request)
    try:
        key, token = await _in_thread(
            request,
            KeyRing.create,
            options.label,
            options.roles,
            options.rate,
            options.burst,
            options.expires,
            options.collections,
        )
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return NewKey(**dict(_key_response(key)), key=token)


@router.post("/{key}/rotate")
async def rotate_key(request: Request, key: str, options: RotateOptions | None = None) -> NewKey:
    """Give a key a new secret, shown this once; the old one works for `grace` seconds more."""
    _check_unscoped(request)
    rotated = await _in_thread(request, KeyRing.rotate, key, options.grace if options else 0.0)
    if rotated is None:
        raise NotFound("no such key")
    return NewKey(**dict(_key_response(rotated[0])), key=rotated[1])


@router.delete("/{key}", status_code=204)
async def revoke_key(request: Request, key: str) -> None:
    """End a key: here at once, in other processes within seconds."""
    _check_unscoped(request)
    if not await _in_thread(request, KeyRing.revoke, key):
        raise NotFound("no such key")


def _check_unscoped(request: Request) -> None:
    """Raise Forbidden for a key of some collections: it could make a key for others."""
    key: Key | None = request.state.key
    if key is not None and key.collections:
        raise Forbidden("a key of some collections cannot manage keys")


async def _in_thread(
    request: Request,
    method: Callable[Concatenate[KeyRing, Arguments], Result],
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Result:
    resources: Resources = request.app.state.resources
    return await asyncio.to_thread(lambda: method(resources.keys, *arguments, **options))


def _key_response(key: Key, last_used: float | None = None) -> KeyResponse:
    return KeyResponse(
        id=key.id,
        label=key.label,
        roles=sorted(key.roles),
        created=key.created,
        rate=key.rate,
        burst=key.burst,
        expires=key.expires,
        collections=list(key.collections),
        last_used=last_used,
    )
