"""Media on the move between subjects of one collection: renaming a subject, and merging it into another."""

from __future__ import annotations

from dataclasses import replace

from service.gallery import Medium, NewMedium, Subject
from service.gallery.checks import clean_name
from service.gallery.errors import Busy, MediumNotFound, SubjectExists, SubjectNotFound
from service.gallery.gallery import Gallery


def rename_subject(gallery: Gallery, collection: str, old: str, new: str, merge: bool = False) -> None:
    """Give a subject another name; with `merge`, one that has this name already gets the media too.

    Each medium is with one of both subjects at any time, so a move that fails halfway loses nothing. Raises
    CollectionNotFound, SubjectNotFound, SubjectExists without `merge`, InvalidName, SubjectTooLarge.
    """
    old = clean_name(old)
    new = clean_name(new)
    subject = gallery.subject(collection, old)
    if old == new:
        return
    if not _made(gallery, collection, replace(subject, id=new)) and not merge:
        raise SubjectExists
    while True:
        for medium in subject.media:
            move_medium(gallery, collection, subject, medium, new)
        if delete_empty(gallery, collection, old):
            return
        subject = gallery.subject(collection, old)  # somebody added to it meanwhile


def delete_empty(gallery: Gallery, collection: str, subject: str) -> bool:
    """Delete a subject if it has no media by then; return whether it had none. Raises SubjectNotFound."""
    with gallery.editor.turn(collection):
        for edit in gallery.editor.edits(collection, subject):
            if edit.stored is None:
                raise SubjectNotFound
            if edit.subject.media:
                return False
            if gallery.encrypted.delete(edit.collection, edit.collection.cipher.tag(edit.name)):
                return True
    raise Busy


def move_medium(
    gallery: Gallery, collection: str, source: Subject, medium: Medium, target: str, new_id: str | None = None
) -> Subject:
    """Move a medium with its photo to another subject, which is made when it is missing; return that subject.

    It keeps its id unless it gets a new one. A medium that is deleted meanwhile is deleted for good. Raises
    SubjectTooLarge, MediumNotFound.
    """
    photo = gallery.photo(collection, source.id, medium.id) if medium.photo else None
    new_medium = NewMedium(new_id or medium.id, medium.vectors, medium.quality, photo, medium.place, medium.added)
    stored = gallery.add_media(collection, target, source.model, [new_medium], create=True)
    try:
        gallery.delete_medium(collection, source.id, medium.id)
    except (MediumNotFound, SubjectNotFound):
        gallery.delete_medium(collection, target, new_medium.id)
        raise
    return stored


def _made(gallery: Gallery, collection: str, subject: Subject) -> bool:
    """Make a subject of this name, age, metadata and ttl; return False if there is one of this name already."""
    with gallery.editor.turn(collection):
        for edit in gallery.editor.edits(collection, subject.id):
            if edit.stored is not None:
                return False
            made = replace(edit.subject, created=subject.created, metadata=subject.metadata, ttl=subject.ttl)
            if edit.write(made) is not None:
                return True
    raise Busy
