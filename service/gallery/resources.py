"""The gallery and the API keys that the settings name, opened on first use: analyzing photos writes nothing to disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from service.config import Settings
from service.crypto.vault import BadMasterKey, Vault, VaultLocked, master_keys_from_file, parse_master_keys
from service.errors import ServiceError
from service.gallery import WHOLE, Part
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_records import EncryptedRecords
from service.gallery.errors import StorageFull, StorageUnavailable
from service.gallery.gallery import Gallery
from service.gallery.root_key import ROOT_KEY
from service.gallery.searchers import ScatteredSearch
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import Store
from service.keys.key_ring import KeyRing

DATABASE = "gallery.db"
MASTER_KEY = "master.key"
HEALTHY_SECONDS = 60.0
"""How long a check of the master key that went well is trusted."""
UNHEALTHY_SECONDS = 5.0


class MasterKeyMissing(VaultLocked):
    """The master key's file is gone, but there are data that only it can decrypt; a new key would be of no use."""


def database(settings: Settings) -> Path:
    """Return the path of the gallery's SQLite file in the data folder."""
    return settings.data_dir / DATABASE


def open_store(settings: Settings) -> Store:
    """Open Redis where it is set, else a file in the data folder. Raises StorageUnavailable."""
    if settings.redis_url:
        return RedisStore(settings.redis_url)
    return SqliteStore(database(settings))


def open_vault(settings: Settings, create: bool = True) -> Vault:
    """Open the vault with the master keys of the settings, else with those in a file in the data folder.

    A missing file is created if `create`. Raises VaultLocked, MasterKeyMissing, StorageUnavailable.
    """
    try:
        if settings.master_key is not None:
            return Vault(parse_master_keys(settings.master_key.get_secret_value()))
        path = settings.master_key_file or settings.data_dir / MASTER_KEY
        if not create and not path.exists():
            raise MasterKeyMissing(
                f"the master key's file {path} is missing, but there is a gallery that was encrypted with it: "
                "put the file back; a new key could not decrypt the gallery"
            )
        return Vault(master_keys_from_file(path, create))
    except BadMasterKey as error:
        raise VaultLocked(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StorageUnavailable("the master key's file cannot be read or created") from error


def open_encrypted(settings: Settings, store: Store) -> EncryptedStore:
    """Open a store's encryption; a master key is created only for an empty store. Raises as open_vault()."""
    return EncryptedStore(store, open_vault(settings, create=store.record(ROOT_KEY) is None))


def open_gallery(settings: Settings, part: Part = WHOLE) -> Gallery:
    """Open the gallery for one part. Raises as open_store() and open_vault()."""
    store = open_store(settings)
    return Gallery(store, open_vault(settings, create=store.record(ROOT_KEY) is None), part=part)


@contextmanager
def open_keys(settings: Settings) -> Iterator[KeyRing]:
    """Open the API keys for a command, without a server. Raises as open_encrypted() and open_store()."""
    store = open_store(settings)
    try:
        encrypted = open_encrypted(settings, store)
        yield KeyRing(EncryptedRecords(encrypted), encrypted.now)
    finally:
        store.close()


@dataclass(eq=False)
class Resources:
    """The gallery and the API keys of one process. Thread-safe; properties may block, and raise as open_gallery()."""

    settings: Settings
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _gallery: Gallery | None = None
    _keys: KeyRing | None = None
    _scattered: ScatteredSearch | None = None
    _problem: str | None = None
    _checked_until: float = 0.0

    @property
    def keys(self) -> KeyRing:
        """Return the API keys; the first use opens the gallery."""
        gallery = self.gallery
        with self._lock:
            if self._keys is None:
                self._keys = KeyRing(EncryptedRecords(gallery.encrypted), gallery.encrypted.now)
            return self._keys

    @property
    def gallery(self) -> Gallery:
        """Return the gallery; the first use opens it."""
        with self._lock:
            if self._gallery is None:
                self._gallery = open_gallery(self.settings)
            return self._gallery

    @property
    def search_backend(self) -> Gallery | ScatteredSearch:
        """Return what answers searches: the gallery itself, or the searchers where the settings name some."""
        gallery = self.gallery
        with self._lock:
            if self.settings.searchers and self.settings.redis_url and self._scattered is None:
                self._scattered = ScatteredSearch(gallery, self.settings.redis_url, self.settings.searchers)
            return self._scattered or gallery

    def exists(self) -> bool:
        """Return whether there is a gallery to look after, opened or not."""
        return self._gallery is not None or self.settings.redis_url is not None or database(self.settings).exists()

    def check_start(self) -> None:
        """Refuse to start without the master key of a gallery that exists, or with FACE_MASTER_KEY that is none.

        Raises MasterKeyMissing, BadMasterKey.
        """
        if self.settings.master_key is not None:
            try:
                parse_master_keys(self.settings.master_key.get_secret_value())
            except BadMasterKey as error:
                raise BadMasterKey(f"FACE_MASTER_KEY: {error}") from error
        if self.exists():
            with suppress(StorageUnavailable, StorageFull):  # a Redis that is away or full now may be there later
                try:
                    _ = self.gallery
                except MasterKeyMissing:
                    raise
                except VaultLocked:
                    return  # a wrong key: /readyz says so

    def problem(self) -> str | None:
        """Return why the master key does not open the gallery, None if it does or there is no gallery yet. Blocking."""
        now = time.monotonic()
        if now >= self._checked_until:
            self._problem = self._check()
            self._checked_until = now + (UNHEALTHY_SECONDS if self._problem else HEALTHY_SECONDS)
        return self._problem

    def _check(self) -> str | None:
        try:
            if self.exists():
                _ = self.gallery
        except VaultLocked as error:
            return error.detail
        except ServiceError:
            return None  # storage that is away now is told by the calls that need it
        return None

    def close(self) -> None:
        """Close the store, and open it again on the next use."""
        with self._lock:
            if self._gallery is not None:
                self._gallery.close()
            self._gallery = self._keys = self._scattered = None
