"""Changes of a subject's metadata that depend on what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from service.gallery import Metadata, Subject
from service.gallery.checks import check_metadata
from service.gallery.errors import Busy, SubjectNotFound
from service.gallery.gallery import Gallery


def change_metadata(
    gallery: Gallery, collection: str, subject: str, change: Callable[[Metadata], Metadata], create: bool = False
) -> Subject:
    """Give a subject the metadata that `change` makes of its own, which it may be asked for more than once.

    `create` makes a missing subject. Raises SubjectNotFound, CollectionNotFound, InvalidSubject, SubjectTooLarge, and
    what `change` raises.
    """
    with gallery.editor.turn(collection):
        for edit in gallery.editor.edits(collection, subject):
            if edit.stored is None and not create:
                raise SubjectNotFound
            metadata = change(edit.subject.metadata)
            check_metadata(metadata)
            if (written := edit.write(replace(edit.subject, metadata=metadata))) is not None:
                return written
    raise Busy
