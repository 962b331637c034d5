"""Enrol many photos of many people, a few at once; run again, it goes on where it stopped."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
from tqdm import tqdm

from service.client import Client, FaceError
from service.client.calls import FaceChoice
from service.commands import complain
from service.commands.remote import ABOUT_PHOTOS

AT_ONCE = 4
"""Requests that are sent at the same time."""
DIGEST_LETTERS = 32
"""Hexadecimal digits of a photo's SHA-256 that the server takes as its medium's id, where none is given."""


@dataclass(frozen=True)
class Item:
    """A photo of a person: its name in messages, a function that reads its bytes, and its medium's id, if any."""

    subject: str
    name: str
    read: Callable[[], bytes]
    medium: str | None = None


@dataclass
class Outcome:
    """The result: how many photos are enrolled, the people they show, and how many photos were refused."""

    enrolled: int = 0
    refused: int = 0
    people: set[str] = field(default_factory=set)


def enrol_all(client: Client, collection: str, items: Sequence[Item], face: FaceChoice | None = None) -> Outcome:
    """Enrol the photos that are not enrolled yet, and report on standard error those that are refused.

    Raises FaceError for an error that is not about a photo.
    """
    enrolled = {subject.id: {medium.id for medium in subject.media} for subject in client.subjects(collection)}
    outcome = Outcome()
    with ThreadPoolExecutor(AT_ONCE) as pool, tqdm(total=len(items), unit="photo", disable=None) as bar:
        problems = pool.map(
            lambda item: _enrol_one(client, collection, item, enrolled.get(item.subject, set()), face), items
        )
        try:
            for item, problem in zip(items, problems, strict=True):
                if problem is None:
                    outcome.enrolled += 1
                    outcome.people.add(item.subject)
                else:
                    outcome.refused += 1
                    with tqdm.external_write_mode(file=sys.stderr):
                        complain(f"{item.name}: {problem}")
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return outcome


def _enrol_one(client: Client, collection: str, item: Item, enrolled: set[str], face: FaceChoice | None) -> str | None:
    """Enrol one photo unless it is enrolled already; return the reason if it is refused, else None."""
    if item.medium is not None and item.medium in enrolled:
        return None
    try:
        data = item.read()
    except OSError as error:
        return error.strerror or str(error)
    except httpx.HTTPError as error:
        return str(error) or type(error).__name__
    if item.medium is None and hashlib.sha256(data).hexdigest()[:DIGEST_LETTERS] in enrolled:
        return None
    try:
        client.enrol(collection, item.subject, data, create=True, medium=item.medium, face=face)
    except FaceError as error:
        if error.status not in ABOUT_PHOTOS and error.code != "invalid_name":
            raise
        return str(error)
    return None
