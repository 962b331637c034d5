"""What keeps a gallery sound: forgetting what is over, a new master key, a new key for a collection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from service.gallery import Busy, CollectionNotFound, Subject
from service.gallery.gallery import Gallery
from service.gallery.sealed import ROOT, Handle, SealedStore
from service.gallery.store import SubjectRow

STAGED_SECONDS = 24 * 3600.0
"""A collection that has been staged for so long was left behind by a crash."""
ROUNDS = 50
"""Times a collection may have changed while its changes were copied."""
_STEP = 512
Make: TypeAlias = Callable[[Subject, dict[str, bytes], Handle], Subject]
"""From a subject, its kept photos and the collection it goes to."""


def purge(gallery: Gallery) -> int:
    """Forgets subjects whose time is over and what crashes left behind; how many subjects. Call it every minute."""
    sealed, store = gallery.sealed, gallery.sealed.store
    now, gone = sealed.clock(), 0
    while expired := store.expired(now, _STEP):
        done = sum(store.delete(collection, row.tag, row.version) for collection, row in expired)
        gone += done
        if not done:
            break
    alive = set()
    for row in store.all_collections():
        alive.add(row.id)
        if row.tag is None and sealed.opened(row).head.staged < now - STAGED_SECONDS:
            store.delete_collection(row.id)
    _tidy(gallery, alive)
    store.scrub()
    return gone


def _tidy(gallery: Gallery, alive: set[bytes]) -> None:
    """No template of what is gone stays where it is searched."""
    held = gallery.nearest.held()
    gallery.nearest.forget(held - alive)
    for row in gallery.sealed.store.all_collections():
        if row.id in held and row.tag is not None:
            gallery.nearest.caught_up(gallery.sealed.opened(row))


def rewrap(sealed: SealedStore) -> int:
    """Wraps every key under the vault's first master key; how many were not. After it the older ones can be dropped."""
    store, vault, changed = sealed.store, sealed.vault, 0
    label = ROOT.encode()
    root = store.record(ROOT)
    if root is not None and not vault.is_current(root):
        store.put_record(ROOT, vault.wrap(vault.unwrap(root, label), label))
        changed += 1
    for row in store.all_collections():
        if not vault.is_current(row.key):
            changed += store.set_key(row.id, row.key, vault.wrap(vault.unwrap(row.key, row.id), row.id))
    return changed


def rotate(sealed: SealedStore, collection: str) -> None:
    """Seals a collection anew under a new key while it is in use; the old key and all it sealed are forgotten.

    Raises CollectionNotFound, Busy when it is changed faster than it can be copied. Nothing is lost then.
    """
    first = sealed.find(collection)
    if first is None:
        raise CollectionNotFound
    staged = sealed.create(replace(first.head, staged=sealed.clock()), staged=True)
    assert staged is not None
    names: dict[int, str] = {}
    since = 0
    try:
        for _ in range(ROUNDS):
            old = sealed.find(collection)
            if old is None or old.id != first.id:
                raise CollectionNotFound
            since = copy_changes(sealed, old, staged, since, names)
            if sealed.publish(staged, replacing=old):
                return
        raise Busy
    except BaseException:
        sealed.discard(staged)
        raise


def copy_changes(
    sealed: SealedStore, old: Handle, staged: Handle, since: int, names: dict[int, str], make: Make | None = None
) -> int:
    """Brings `staged` up to date with `old` since a version, each subject as `make` makes it anew (None: as it is).

    The version reached.

    `names` are the subjects that `staged` holds by their serials in `old`.
    """
    changes = sealed.store.changes(old.id, since)
    serials = list({row.serial for row in changes.rows})
    for serial in changes.removed:
        if (name := names.pop(serial, None)) is not None:
            sealed.store.delete(staged.id, staged.sealer.tag(name))
    for start in range(0, len(serials), _STEP):
        for row in sealed.store.rows_by_serial(old.id, serials[start : start + _STEP]):
            names[row.serial] = _copy(sealed, old, row, staged, make)
    return changes.version


def _copy(sealed: SealedStore, old: Handle, row: SubjectRow, staged: Handle, make: Make | None) -> str:
    subject = sealed.read(old, row)
    photos = sealed.photos(old, row, subject)
    if make is not None:
        subject = make(subject, photos, staged)
    there = sealed.store.row(staged.id, staged.sealer.tag(subject.id))
    kept = {medium.id for medium in sealed.read(staged, there).media} if there else set()
    wanted = {medium.id for medium in subject.media if medium.photo}
    new = {medium: photo for medium, photo in photos.items() if medium in wanted}
    sealed.write(staged, subject, there, new, kept - wanted)
    return subject.id
