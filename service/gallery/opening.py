"""Opens the gallery and the keys that the settings name, on first use: analysing photos writes nothing to disk."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from service.config import Settings
from service.gallery import StorageUnavailable
from service.gallery.gallery import Gallery
from service.gallery.redis import RedisStore
from service.gallery.scatter import Scattered
from service.gallery.sqlite import SqliteStore
from service.gallery.store import Store
from service.keys import KeyRing
from service.vault import BadMasterKey, Vault, VaultLocked, master_keys_from_file, parse_master_keys

FILE = "gallery.db"
MASTER_KEY = "master.key"


def database(settings: Settings) -> Path:
    """The gallery's SQLite file."""
    return settings.data_dir / FILE


def open_store(settings: Settings) -> Store:
    """Redis where it is set, else a file in the data folder. Raises StorageUnavailable."""
    if settings.redis_url:
        return RedisStore(settings.redis_url)
    return SqliteStore(database(settings))


def open_vault(settings: Settings) -> Vault:
    """With the master keys of the settings, else those of a file in the data folder. Raises VaultLocked."""
    try:
        if settings.master_key is not None:
            return Vault(parse_master_keys(settings.master_key.get_secret_value()))
        return Vault(master_keys_from_file(settings.master_key_file or settings.data_dir / MASTER_KEY))
    except BadMasterKey as error:
        raise VaultLocked(str(error)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise StorageUnavailable("the master key's file cannot be read or made") from error


@dataclass(eq=False)
class Opening:
    """The gallery and the key ring of one process. Thread-safe; properties may block, and raise as open_store does."""

    settings: Settings
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _store: Store | None = None
    _gallery: Gallery | None = None
    _keys: KeyRing | None = None
    _scattered: Scattered | None = None

    @property
    def keys(self) -> KeyRing:
        """Needs no master key."""
        with self._lock:
            if self._keys is None:
                self._keys = KeyRing(self._opened())
            return self._keys

    @property
    def gallery(self) -> Gallery:
        """Raises VaultLocked too."""
        with self._lock:
            if self._gallery is None:
                vault, vector_sets = open_vault(self.settings), self.settings.vector_sets
                self._gallery = Gallery(self._opened(), vault, vector_sets=vector_sets)
            return self._gallery

    @property
    def searching(self) -> Gallery | Scattered:
        """What searches: the gallery itself, or the searchers. Raises as `gallery` does."""
        found = self.gallery
        with self._lock:
            if self.settings.searchers and self.settings.redis_url and self._scattered is None:
                self._scattered = Scattered(found, self.settings.redis_url, self.settings.searchers)
            return self._scattered or found

    def exists(self) -> bool:
        """Whether there is a gallery to look after, opened or not."""
        return self._gallery is not None or self.settings.redis_url is not None or database(self.settings).exists()

    def close(self) -> None:
        """Let go of the store."""
        with self._lock:
            if self._gallery is not None:
                self._gallery.close()
            elif self._store is not None:
                self._store.close()
            self._store = self._gallery = self._keys = self._scattered = None

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self.settings)
        return self._store
