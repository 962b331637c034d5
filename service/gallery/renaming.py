"""Media on the move between subjects of one collection: renaming a subject, and merging it into another."""

from __future__ import annotations

from service.gallery import Medium, NewMedium, Subject
from service.gallery.checks import clean_name
from service.gallery.errors import MediumNotFound, SubjectNotFound
from service.gallery.gallery import Gallery


def rename_subject(gallery: Gallery, collection: str, old: str, new: str) -> None:
    """Give a subject another name; one that has this name already gets the media in addition to its own.

    Each medium is with one of both subjects at any time, so a move that fails halfway loses nothing and can be
    repeated. Raises CollectionNotFound, SubjectNotFound, InvalidName, SubjectTooLarge.
    """
    old = clean_name(old)
    new = clean_name(new)
    subject = gallery.subject(collection, old)
    if old == new:
        return
    if not _exists(gallery, collection, new):
        gallery.put_subject(collection, new, subject.metadata, subject.ttl)
    while subject.media:
        for medium in subject.media:
            move_medium(gallery, collection, subject, medium, new)
        subject = gallery.subject(collection, old)  # somebody may have added to it meanwhile
    gallery.delete_subject(collection, old)


def move_medium(
    gallery: Gallery, collection: str, source: Subject, medium: Medium, target: str, new_id: str | None = None
) -> Subject:
    """Move a medium with its photo to another subject, which is made when it is missing; return that subject.

    It keeps its id unless it gets a new one. A medium that is deleted meanwhile is deleted for good. Raises
    SubjectTooLarge, MediumNotFound.
    """
    photo = gallery.photo(collection, source.id, medium.id) if medium.photo else None
    new_medium = NewMedium(new_id or medium.id, medium.vectors, medium.quality, photo, medium.place)
    stored = gallery.add_media(collection, target, source.model, [new_medium], create=True)
    try:
        gallery.delete_medium(collection, source.id, medium.id)
    except (MediumNotFound, SubjectNotFound):
        gallery.delete_medium(collection, target, new_medium.id)
        raise
    return stored


def _exists(gallery: Gallery, collection: str, subject: str) -> bool:
    try:
        gallery.subject(collection, subject)
    except SubjectNotFound:
        return False
    return True
