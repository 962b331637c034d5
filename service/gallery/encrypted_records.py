"""Small encrypted values beside the collections, each bound to its name: API keys, for one."""

from __future__ import annotations

from typing_extensions import override

from service.gallery.encrypted import EncryptedStore
from service.keys.key_ring import Record, Records


class EncryptedRecords(Records):
    """Records in a store, which sees their names only; what somebody else wrote there raises VaultLocked."""

    def __init__(self, encrypted: EncryptedStore) -> None:
        self._encrypted = encrypted
        self._store = encrypted.store

    @override
    def read(self, name: str) -> Record | None:
        stored = self._store.record(name)
        return None if stored is None else Record(self._encrypted.decrypt(stored, b"record", name.encode()), stored)

    @override
    def replace(self, name: str, old: Record | None, value: bytes) -> bool:
        ciphertext = self._encrypted.encrypt(value, b"record", name.encode())
        return self._store.replace_record(name, old.stored if old else None, ciphertext)

    @override
    def put(self, name: str, value: bytes) -> None:
        self._store.put_record(name, self._encrypted.encrypt(value, b"record", name.encode()))

    @override
    def delete(self, name: str) -> None:
        self._store.delete_record(name)
