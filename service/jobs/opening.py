"""Which store a process keeps its jobs in."""

from __future__ import annotations

from service.broker.seal import open_seal
from service.config import Settings
from service.jobs import JobStore
from service.jobs.local import LocalJobs
from service.jobs.redis import RedisJobs


def open_jobs(settings: Settings) -> JobStore:
    """Redis where it is set, else this process. Raises ValueError for a bad key."""
    if settings.redis_url:
        seal = open_seal(settings, make=True)
        return RedisJobs(settings.redis_url, settings.jobs_open, settings.jobs_ttl, seal)
    return LocalJobs(settings.jobs_open, settings.jobs_ttl)
