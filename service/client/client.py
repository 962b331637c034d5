"""A typed client of the API, blocking and asyncio. A busy server's 429 or 503 is retried after the time it names.

    with Client("http://127.0.0.1:8000") as faces:
        faces.enrol("staff", "ada", Path("ada.jpg"), create=True)
        answer = faces.search("staff", Path("who.jpg"))

AsyncClient has the same methods, awaited: `answer = await faces.search(…)`, `async for subject in faces.subjects(…)`.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import httpx
from typing_extensions import override

from service.client import calls
from service.client.call import NOT_SENT, Answer, Call, not_answered, seconds_until_retry
from service.client.certificates import trusted_certificates
from service.client.endpoints import AsyncSender, BlockingSender, Endpoint, Listing, PhotosEndpoint
from service.client.errors import FaceError
from service.client.photos import Photo, Photos, Probe
from service.schemas.jobs import JobResponse
from service.schemas.probes import Template
from service.schemas.videos import VideoResponse

__all__ = ["AsyncClient", "Client", "FaceError", "Photo", "Photos", "Probe", "Template"]

URL = "http://127.0.0.1:8000"
TIMEOUT = 60.0
RETRIES = 6
FIRST_POLL_SECONDS = 0.03
"""Seconds between the first two polls of a job that is waited for; each later pause is twice as long."""
POLL_SECONDS = 0.5
"""Longest pause between two polls of a job, in seconds."""


class Methods:
    """The methods of both clients: one for each endpoint, typed by the functions in `calls`."""

    analyze = PhotosEndpoint(calls.analyze, calls.analyze_many)
    analyze_many = Endpoint(calls.analyze_many)
    submit_video = Endpoint(calls.submit_video)
    compare = Endpoint(calls.compare)
    template = Endpoint(calls.template)
    clusters = Endpoint(calls.clusters)
    model = Endpoint(calls.model)

    submit_job = Endpoint(calls.submit_job)
    job = Endpoint(calls.job)
    delete_job = Endpoint(calls.delete_job)

    put_collection = Endpoint(calls.put_collection)
    collection = Endpoint(calls.collection)
    collections = Listing(calls.collections, lambda page: page.collections, lambda page: page.cursor)
    delete_collection = Endpoint(calls.delete_collection)
    put_subject = Endpoint(calls.put_subject)
    subject = Endpoint(calls.subject)
    subjects = Listing(calls.subjects, lambda page: page.subjects, lambda page: page.cursor)
    subject_template = Endpoint(calls.subject_template)
    rename_subject = Endpoint(calls.rename_subject)
    delete_subject = Endpoint(calls.delete_subject)
    conflicts = Endpoint(calls.conflicts)
    submit_review = Endpoint(calls.submit_review)
    enrol = Endpoint(calls.enrol)
    medium_photo = Endpoint(calls.medium_photo)
    delete_medium = Endpoint(calls.delete_medium)
    verify = Endpoint(calls.verify)
    search = Endpoint(calls.search)
    search_all = Endpoint(calls.search_all)

    export = Endpoint(calls.export)
    import_ = Endpoint(calls.import_)
    merge = Endpoint(calls.merge)
    re_enrol = Endpoint(calls.re_enrol)
    rotate_collection_key = Endpoint(calls.rotate_collection_key)
    create_key = Endpoint(calls.create_key)
    keys = Endpoint(calls.keys)
    rotate_key = Endpoint(calls.rotate_key)
    revoke_key = Endpoint(calls.revoke_key)


class Client(Methods, BlockingSender):
    """The blocking client; one may be shared by threads. Every method raises FaceError.

    `timeout` is the longest silence in seconds. `http` is an httpx client of your own, for a proxy or certificates;
    it stays open when this one is closed.
    """

    def __init__(
        self,
        url: str = URL,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        timeout: float = TIMEOUT,
        http: httpx.Client | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._retries = retries
        self._timeout = timeout
        self._http = http or httpx.Client(verify=trusted_certificates())
        self._owns_http = http is None

    @override
    def send(self, call: Call[Answer]) -> Answer:
        """Send a call, again while the server is busy, and return its answer. Raises FaceError."""
        attempts_left = self._retries
        while True:
            try:
                response = self._http.send(call.request(self._http, self._url, self._key, self._timeout))
            except NOT_SENT as error:
                raise not_answered(self._url, error) from error
            seconds = seconds_until_retry(response, attempts_left)
            if seconds is None:
                return call.answer(response)
            attempts_left -= 1
            time.sleep(seconds)

    def wait_for_job(self, job_id: str, timeout: float | None = None) -> JobResponse:
        """Wait until a job is done and return it with all its results. Raises TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_POLL_SECONDS
        while (job := self.job(job_id, limit=0)).status != "done":
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"the job is not done after {timeout:g} seconds: {job.done} of {job.total} photos")
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS)
        job = self.job(job_id, limit=calls.JOB_RESULTS_AT_ONCE)
        while len(job.results) < job.total:
            results = self.job(job_id, start=len(job.results), limit=calls.JOB_RESULTS_AT_ONCE).results
            if not results:
                break
            job.results.extend(results)
        return job

    def video(self, video: Photo, *, template: bool | None = None, timeout: float | None = None) -> VideoResponse:
        """Find the faces of a video and follow each through its time; `template=True` adds a template of each.

        A long video is a job of the server, which is waited for and deleted. Raises FaceError for a video that cannot
        be used, TimeoutError after `timeout` seconds.
        """
        answer = self.submit_video(video, template=template)
        if isinstance(answer, VideoResponse):
            return answer
        response = calls.video_of(self.wait_for_job(answer.id, timeout))
        self.delete_job(answer.id)
        return response

    def close(self) -> None:
        """Close the connections; an httpx client of the caller's own stays open."""
        if self._owns_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class AsyncClient(Methods, AsyncSender):
    """The client for asyncio, with the methods of Client. Every method raises FaceError.

    `http` is an httpx.AsyncClient of your own.
    """

    def __init__(
        self,
        url: str = URL,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        timeout: float = TIMEOUT,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._retries = retries
        self._timeout = timeout
        self._http = http or httpx.AsyncClient(verify=trusted_certificates())
        self._owns_http = http is None

    @override
    async def send(self, call: Call[Answer]) -> Answer:
        """Send a call, again while the server is busy, and return its answer. Raises FaceError."""
        attempts_left = self._retries
        while True:
            try:
                response = await self._http.send(call.request(self._http, self._url, self._key, self._timeout))
            except NOT_SENT as error:
                raise not_answered(self._url, error) from error
            seconds = seconds_until_retry(response, attempts_left)
            if seconds is None:
                return call.answer(response)
            attempts_left -= 1
            await asyncio.sleep(seconds)

    async def wait_for_job(self, job_id: str, timeout: float | None = None) -> JobResponse:
        """Wait until a job is done and return it with all its results. Raises TimeoutError after `timeout` seconds."""
        async with asyncio.timeout(timeout):
            pause = FIRST_POLL_SECONDS
            while (job := await self.job(job_id, limit=0)).status != "done":
                await asyncio.sleep(pause)
                pause = min(2 * pause, POLL_SECONDS)
        job = await self.job(job_id, limit=calls.JOB_RESULTS_AT_ONCE)
        while len(job.results) < job.total:
            results = (await self.job(job_id, start=len(job.results), limit=calls.JOB_RESULTS_AT_ONCE)).results
            if not results:
                break
            job.results.extend(results)
        return job

    async def video(self, video: Photo, *, template: bool | None = None, timeout: float | None = None) -> VideoResponse:
        """Find the faces of a video and follow each through its time; `template=True` adds a template of each.

        A long video is a job of the server, which is waited for and deleted. Raises FaceError for a video that cannot
        be used, TimeoutError after `timeout` seconds.
        """
        answer = await self.submit_video(video, template=template)
        if isinstance(answer, VideoResponse):
            return answer
        response = calls.video_of(await self.wait_for_job(answer.id, timeout))
        await self.delete_job(answer.id)
        return response

    async def close(self) -> None:
        """Close the connections; an httpx client of the caller's own stays open."""
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()
