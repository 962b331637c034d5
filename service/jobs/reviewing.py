"""The parts of a collection that a job looks through for conflicts."""

from __future__ import annotations

import asyncio
import threading

from service.config import Settings
from service.gallery.resources import Resources
from service.gallery.review import PartReview, ReviewPart, review_part
from service.gallery.scoring import Scoring
from service.jobs.submission import Submitter


class Reviewer:
    """Looks through parts of collections, each in a thread."""

    def __init__(self, resources: Resources, submitter: Submitter, settings: Settings) -> None:
        self._resources = resources
        self._submitter = submitter
        self._settings = settings

    async def review(self, part: ReviewPart) -> PartReview:
        """Return what is wrong in a part. Raises CollectionNotFound, ModelMismatch, NotCalibrated, NotReady."""
        stop = threading.Event()
        model = await asyncio.to_thread(lambda: self._resources.gallery.collection(part.collection).model)
        scoring = Scoring.of(await self._submitter.model_card(model))
        try:
            return await asyncio.to_thread(self._reviewed, part, scoring, stop)
        finally:
            stop.set()  # where this was cancelled, the thread ends after the subject that it is at

    def _reviewed(self, part: ReviewPart, scoring: Scoring, stop: threading.Event) -> PartReview:
        resources = self._resources
        return review_part(resources.gallery, resources.search_backend, part, scoring, self._settings.fpir, stop)
