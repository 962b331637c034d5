"""Jobs and results as bytes: msgpack, with the compressed image beside the header. Times travel as what is left."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import lru_cache
from typing import Any, cast

import msgpack

from service.broker import Job, Result, WorkerInfo
from service.schemas import JobOptions

PREFIX = "face:queue:"
NAMES = ("id", "request_id", "pixels", "trace")


def pack_job(job: Job) -> tuple[bytes, int]:
    """The header, and milliseconds left until the deadline."""
    header = {name: getattr(job, name) for name in NAMES} | {"options": job.options.model_dump(exclude_unset=True)}
    left = max(0, round(1000 * (job.deadline - time.monotonic())))
    return cast(bytes, msgpack.packb(header)), left


def unpack_job(fields: dict[bytes, bytes], waited: float, attempt: int) -> Job:
    """A job that arrived `waited` seconds ago. Raises ValueError for what is none."""
    try:
        header = msgpack.unpackb(fields[b"h"])
        options = JobOptions.model_validate(header["options"])
        known = {name: header[name] for name in NAMES}
        submitted = time.monotonic() - max(0.0, waited)
        deadline = submitted + int(fields[b"t"]) / 1000
        return Job(
            image=fields[b"i"], options=options, submitted=submitted, deadline=deadline, attempt=attempt, **known
        )
    except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError("not a job") from error


def job_id(fields: dict[bytes, bytes]) -> str | None:
    """Whose job it is, also when the rest cannot be read."""
    try:
        return str(msgpack.unpackb(fields[b"h"])["id"])
    except (KeyError, TypeError, ValueError, msgpack.UnpackException):
        return None


def pack_result(result: Result) -> bytes:
    """All of it."""
    return cast(bytes, msgpack.packb({name: getattr(result, name) for name in Result.__slots__}))


def unpack_result(data: bytes) -> Result:
    """What pack_result() or a script packed, perhaps of another version. Raises ValueError for what is none."""
    try:
        found = msgpack.unpackb(data)
        return Result(**{name: found[name] for name in Result.__slots__ if name in found})
    except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise ValueError("not a result") from error


def pack_worker(worker: WorkerInfo) -> bytes:
    """All of it."""
    return cast(bytes, msgpack.packb(asdict(worker)))


@lru_cache(64)
def unpack_worker(data: bytes) -> WorkerInfo:
    """What pack_worker() packed."""
    return WorkerInfo(**cast(dict[str, Any], msgpack.unpackb(data)))
