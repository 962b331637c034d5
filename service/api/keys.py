"""API keys over HTTP, for administrators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fastapi import APIRouter, Request

from service.admin_schemas import KeyAsked, KeyOut, Keys, NewKey
from service.api.gallery import ADMIN, STORED
from service.audit import Audited
from service.errors import InvalidRequest, NotFound
from service.keys import Key, KeyRing

Done = TypeVar("Done")
router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=Audited, responses=STORED, dependencies=[ADMIN])


@router.get("")
async def list_keys(request: Request) -> Keys:
    """All keys, without their secrets."""
    return Keys(keys=[KeyOut(**_shown(key)) for key in await _on(request, lambda ring: ring.keys())])


@router.post("", status_code=201)
async def create_key(request: Request, asked: KeyAsked) -> NewKey:
    """A new key; it is shown this once."""
    try:
        key, words = await _on(request, lambda ring: ring.create(asked.label, asked.roles, asked.rate, asked.burst))
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return NewKey(**_shown(key), key=words)


@router.delete("/{key}", status_code=204)
async def revoke_key(request: Request, key: str) -> None:
    """Ends a key: here at once, in other processes within seconds."""
    if not await _on(request, lambda ring: ring.revoke(key)):
        raise NotFound("no such key")


async def _on(request: Request, work: Callable[[KeyRing], Done]) -> Done:
    return await asyncio.to_thread(lambda: work(request.app.state.opening.keys))


def _shown(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "label": key.label,
        "roles": sorted(key.roles),
        "created": key.created,
        "rate": key.rate,
        "burst": key.burst,
    }
