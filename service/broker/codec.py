"""Jobs and results as bytes: a header in msgpack, beside it id and compressed image. Times travel as what is left.

Photos and what was found in them are sealed where there is a key; headers and errors say nothing about people.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import lru_cache
from typing import Any, cast

import msgpack

from service.broker import Job, Result, WorkerInfo
from service.broker.seal import Seal
from service.schemas import JobOptions
from service.vault import VaultLocked

PREFIX = "face:queue:"
NAMES = ("request_id", "pixels", "trace")
PLAIN = tuple(name for name in Result.__slots__ if name != "analysis")
PHOTO, ANSWER = b"photo", b"answer"


def pack_job(job: Job, seal: Seal | None) -> tuple[bytes, bytes, int]:
    """The header, the image, and milliseconds left until the deadline."""
    header = {name: getattr(job, name) for name in NAMES} | {"options": job.options.model_dump(exclude_unset=True)}
    header |= {"bytes": len(job.image), "sealed": seal is not None}
    image = seal.seal(job.image, PHOTO, job.id.encode()) if seal else job.image
    left = max(0, round(1000 * (job.deadline - time.monotonic())))
    return cast(bytes, msgpack.packb(header)), image, left


def unpack_job(fields: dict[bytes, bytes], image: bytes, waited: float, attempt: int, seal: Seal | None) -> Job:
    """A job that arrived `waited` seconds ago. Raises ValueError for what is none, VaultLocked."""
    try:
        job_id = str(fields[b"id"], "ascii")
        header = msgpack.unpackb(fields[b"h"])
        options = JobOptions.model_validate(header["options"])
        known: dict[str, Any] = {name: header[name] for name in NAMES}
        submitted = time.monotonic() - max(0.0, waited)
        deadline = submitted + int(fields[b"t"]) / 1000
        if header.get("sealed"):
            image = _opened(image, seal, PHOTO, fields[b"id"])
        known |= {"submitted": submitted, "deadline": deadline, "attempt": attempt}
        return Job(id=job_id, image=image, options=options, **known)
    except (KeyError, TypeError, ValueError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError("not a job") from error


def unpack_header(fields: dict[bytes, bytes]) -> dict[str, Any]:
    """What can be told without the key: request_id, pixels, bytes, sealed. Raises ValueError for what is no job."""
    try:
        header = msgpack.unpackb(fields[b"h"])
        known = {"request_id": str(header["request_id"]), "sealed": bool(header["sealed"])}
        return known | {name: int(header[name]) for name in ("pixels", "bytes")}
    except (KeyError, TypeError, ValueError, AttributeError, msgpack.UnpackException) as error:
        raise ValueError("not a job") from error


def answering(fields: dict[bytes, bytes], image: bytes, seal: Seal | None) -> Seal | None:
    """What seals the answer to a job that unpack_job() has read: the key that sealed the job, if one did."""
    return seal.like(image) if seal and msgpack.unpackb(fields[b"h"]).get("sealed") else None


def pack_result(result: Result, seal: Seal | None) -> bytes:
    """All of it."""
    found: dict[str, Any] = {name: getattr(result, name) for name in PLAIN}
    if seal is None or result.analysis is None:
        found["analysis"] = result.analysis
    else:
        found["sealed"] = seal.seal(msgpack.packb(result.analysis), ANSWER, result.job_id.encode())
    return cast(bytes, msgpack.packb(found))


def unpack_result(data: bytes, seal: Seal | None) -> Result:
    """What pack_result() or a script packed, perhaps of another version.

    Raises ValueError for what is none, VaultLocked for what does not open.
    """
    try:
        found = msgpack.unpackb(data)
        if "sealed" in found:
            opened = _opened(found["sealed"], seal, ANSWER, str(found["job_id"]).encode())
            found["analysis"] = msgpack.unpackb(opened)
        return Result(**{name: found[name] for name in Result.__slots__ if name in found})
    except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError("not a result") from error


def pack_worker(worker: WorkerInfo) -> bytes:
    """All of it."""
    return cast(bytes, msgpack.packb(asdict(worker)))


@lru_cache(64)
def unpack_worker(data: bytes) -> WorkerInfo:
    """What pack_worker() packed."""
    found = cast(dict[str, Any], msgpack.unpackb(data))
    return WorkerInfo(found["id"], found["digest"], found["info"], tuple(found.get("opens", ())))


def _opened(sealed: bytes, seal: Seal | None, *place: bytes) -> bytes:
    if seal is None:
        raise VaultLocked("what lies in the queue is sealed, and no key is set")
    return seal.open(sealed, *place)
