"""Stored faces by an id of their own: other products know faces, where we know media of subjects."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from service.gallery import Medium, Page, Receipt, Subject
from service.gallery.errors import CollectionNotFound, SubjectNotFound
from service.gallery.gallery import Gallery

NAMES = uuid.UUID("5a3c1f62-9d0e-4c57-8a4b-3f6f1c2e7b90")
"""The namespace of ids that are made of names."""
PAGE = 100
"""Subjects that are read from the store at a time."""


@dataclass(frozen=True, eq=False)
class StoredFace:
    """A medium of a subject, and the id under which callers of other products' APIs know it."""

    id: str
    subject: Subject
    medium: Medium


def new_face_id() -> str:
    """Return the id of a face that is to be stored."""
    return str(uuid.uuid4())


def face_id(subject: str, medium: str) -> str:
    """Return the UUID of a medium: its own id where that is one already, else one made of the names of both."""
    try:
        if str(uuid.UUID(medium)) == medium:
            return medium
    except ValueError:
        pass
    return str(uuid.uuid5(NAMES, f"{subject}\0{medium}"))


def faces_of(subject: Subject) -> list[StoredFace]:
    """Return the faces of a subject, one for each of its media."""
    return [StoredFace(face_id(subject.id, medium.id), subject, medium) for medium in subject.media]


def pages_of(gallery: Gallery, collection: str) -> Iterator[Page[Subject]]:
    """Yield the subjects of a collection page by page, none of one that does not exist."""
    cursor: str | None = None
    with suppress(CollectionNotFound):
        while True:
            page = gallery.subjects(collection, cursor, PAGE)
            yield page
            cursor = page.cursor
            if cursor is None:
                return


def subjects_in(gallery: Gallery, collection: str) -> Iterator[Subject]:
    """Yield all subjects of a collection that can be read."""
    for page in pages_of(gallery, collection):
        yield from page.items


def subject_names(gallery: Gallery, collection: str) -> list[str]:
    """Return the names of all subjects of a collection that can be read."""
    return [subject.id for subject in subjects_in(gallery, collection)]


def delete_all_subjects(gallery: Gallery, collection: str) -> list[Receipt]:
    """Delete all subjects of a collection, damaged ones too; return what was deleted of each."""
    pages = list(pages_of(gallery, collection))
    receipts = []
    for name in [name for page in pages for name in (*(subject.id for subject in page.items), *page.damaged)]:
        with suppress(SubjectNotFound):  # deleted meanwhile
            receipts.append(gallery.delete_subject(collection, name))
    return receipts


def list_faces(gallery: Gallery, collection: str, subject: str | None = None) -> list[tuple[str, str]]:
    """Return the ids of all faces and the names of their subjects; of one subject alone where it is named."""
    if subject:
        with suppress(CollectionNotFound, SubjectNotFound):
            return [(face.id, face.subject.id) for face in faces_of(gallery.subject(collection, subject))]
        return []
    return [(face.id, person.id) for person in subjects_in(gallery, collection) for face in faces_of(person)]


def faces_after(
    gallery: Gallery, collection: str, token: str | None, count: int, is_wanted: Callable[[StoredFace], bool]
) -> tuple[list[StoredFace], str | None]:
    """Return at most so many of the faces wanted, and the token of the rest, None at the end.

    Raises CollectionNotFound, InvalidSubject for a token that no answer had.
    """
    text, _, number = (token or ":0").partition(":")
    cursor = text or None
    skip = int(number) if number.isdecimal() and len(number) < 10 else 0
    faces: list[StoredFace] = []
    while True:
        page = gallery.subjects(collection, cursor, PAGE)
        candidates = [face for subject in page.items for face in faces_of(subject) if is_wanted(face)]
        selected = candidates[skip : skip + count - len(faces)]
        faces += selected
        if skip + len(selected) < len(candidates):
            return faces, f"{cursor or ''}:{skip + len(selected)}"
        cursor = page.cursor
        skip = 0
        if cursor is None or len(faces) >= count:
            return faces, f"{cursor}:0" if cursor else None
