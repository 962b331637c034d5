"""Opens the store of jobs that the settings name."""

from __future__ import annotations

from service.config import Settings
from service.crypto.queue_cipher import has_queue_key, load_queue_cipher
from service.jobs import JobStore
from service.jobs.budget import Budget
from service.jobs.local import LocalJobs
from service.jobs.redis import RedisJobs


def open_jobs(settings: Settings) -> JobStore:
    """Return a store in Redis where it is set, else in this process. Raises ValueError for a bad key."""
    budget = Budget(settings.jobs_bytes, settings.jobs_key_bytes)
    if settings.redis_url:
        cipher = load_queue_cipher(settings, create=True)
        required = has_queue_key(settings)
        return RedisJobs(settings.redis_url, settings.jobs_open, settings.jobs_ttl, budget, cipher, required)
    return LocalJobs(settings.jobs_open, settings.jobs_ttl, budget)
