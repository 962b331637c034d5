"""API keys over both stores: roles, scopes, expiry, rotation, what is stored, forged records."""

from collections.abc import Callable

import pytest

from service.crypto.vault import Vault, VaultLocked
from service.gallery.encrypted import EncryptedStore
from service.gallery.encrypted_records import EncryptedRecords
from service.gallery.stores.store import Store
from service.keys import ROLES, Unauthorized, key_ring
from service.keys.key_ring import KeyRing
from tests.service.gallery.people import MASTER, Clock


def opened(store: Store, clock: Clock, master: bytes = MASTER) -> KeyRing:
    """The keys of a store as a process of its own sees them."""
    return KeyRing(EncryptedRecords(EncryptedStore(store, Vault([master]), clock)), clock)


@pytest.fixture
def ring(store: Store, clock: Clock) -> KeyRing:
    return opened(store, clock)


def test_a_key_works_for_its_roles_and_nothing_of_it_is_stored_in_clear(store: Store, ring: KeyRing):
    key, token = ring.create("front door", ["verify", "enrol"])
    assert ring.authenticate(token) == key
    assert (key.grants("verify"), key.grants("enrol"), key.grants("analyze"), key.grants("admin")) == (
        True,
        True,
        False,
        False,
    )
    stored = b"".join(store.records("").values())
    for secret in (token.split("_", 2)[2], "front door", "enrol"):
        assert secret.encode() not in stored


def test_an_admin_may_do_everything(ring: KeyRing):
    key, _ = ring.create("root", ["admin"])
    assert all(key.grants(role) for role in ROLES)


def test_wrong_tokens_are_refused(ring: KeyRing):
    key, token = ring.create("door", ["verify"])
    other = ring.create("other", ["verify"])[1]
    swapped = f"face_{key.id}_{other.split('_', 2)[2]}"
    unknown = f"face_{'0' * 12}_{token.split('_', 2)[2]}"
    for bad in (None, "", "x", token[:-1], token + "a", token.upper(), swapped, unknown, token + "\n"):
        with pytest.raises(Unauthorized) as caught:
            ring.authenticate(bad)
        assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_another_process_knows_the_key_and_its_end(
    open_store: Callable[[], Store], clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_ring, "REMEMBERED_SECONDS", 0.0)
    here, there = opened(open_store(), clock), opened(open_store(), clock)
    key, token = here.create("door", ["verify"])
    assert there.authenticate(token) == key
    second = there.create("second", ["verify"])[0]
    assert here.keys() == there.keys() == sorted([key, second], key=lambda k: k.id)
    assert here.revoke(key.id)
    for ring in (here, there):
        with pytest.raises(Unauthorized):
            ring.authenticate(token)
    assert not here.revoke(key.id)


def test_keys_are_listed_without_secrets(ring: KeyRing, clock: Clock):
    made = []
    for label in ("first", "second"):
        made.append(ring.create(label, ["analyze"], rate=2.5, burst=3)[0])
        clock.now += 1
    assert ring.keys() == made


def test_a_key_ends_when_it_expires(ring: KeyRing, clock: Clock):
    _, token = ring.create("guest", ["verify"], expires=clock.now + 60)
    clock.now += 59
    ring.authenticate(token)
    clock.now += 1
    with pytest.raises(Unauthorized, match="expired"):
        ring.authenticate(token)


def test_the_last_use_is_known_to_a_minute(ring: KeyRing, clock: Clock):
    key, token = ring.create("door", ["verify"])
    assert ring.last_used(key.id) is None
    ring.authenticate(token)
    first = clock.now
    assert ring.last_used(key.id) == first
    clock.now += 59
    ring.authenticate(token)
    assert ring.last_used(key.id) == first
    clock.now += 1
    ring.authenticate(token)
    assert ring.last_used(key.id) == first + 60


def test_a_new_secret_replaces_the_old_one_after_a_while(ring: KeyRing, clock: Clock):
    key, old = ring.create("door", ["verify"])
    assert ring.rotate("0" * 12) is None
    same, new = ring.rotate(key.id, grace=10)
    assert (same, ring.authenticate(old), ring.authenticate(new)) == (key, key, key)
    clock.now += 10
    with pytest.raises(Unauthorized):
        ring.authenticate(old)
    assert ring.authenticate(new) == key
    newest = ring.rotate(key.id)[1]
    with pytest.raises(Unauthorized):
        ring.authenticate(new)
    assert ring.authenticate(newest) == key


def test_a_key_of_some_collections_reaches_no_others(ring: KeyRing):
    key, _ = ring.create("gate", ["enrol"], collections=["staff", "guests-*", "zoe\u0308"])
    reached = {name: key.reaches(name) for name in ("staff", "staff2", "guests-1", "guests", "zo\u00eb", "*")}
    assert [name for name, reaches in reached.items() if reaches] == ["staff", "guests-1", "zo\u00eb"]
    assert ring.create("all", ["enrol"])[0].reaches("anything")


@pytest.mark.parametrize("forge", ["made up", "copied from another record", "another master key's"])
def test_whoever_writes_to_the_store_makes_no_key(store: Store, clock: Clock, forge: str):
    ring = opened(store, clock)
    ring.create("door", ["verify"])
    if forge == "made up":
        store.put_record("keys", b'{"keys": {}}')
    elif forge == "copied from another record":
        ring.authenticate(ring.create("used", ["verify"])[1])
        store.put_record("keys", next(iter(store.records("key-used/").values())))
    else:
        sealed = store.record("keys")
        store.put_record("keys", sealed[:-1] + bytes([sealed[-1] ^ 1]))
    for call in (ring.keys, lambda: opened(store, clock).authenticate(f"face_{'0' * 12}_{'a' * 43}")):
        with pytest.raises(VaultLocked):
            call()


def test_a_running_process_notices_that_revoked_keys_were_put_back(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(key_ring, "REMEMBERED_SECONDS", 0.0)
    ring = opened(store, clock)
    key, token = ring.create("door", ["admin"])
    old = store.record("keys")
    ring.revoke(key.id)
    store.put_record("keys", old)
    with pytest.raises(VaultLocked, match="older record"):
        ring.authenticate(token)


@pytest.mark.parametrize(
    "fields",
    [
        {"roles": []},
        {"roles": ["king"]},
        {"label": ""},
        {"rate": 0},
        {"rate": 1, "burst": 0},
        {"expires": 0.0},
        {"collections": ["*"]},
        {"collections": ["a/b"]},
        {"collections": [""]},
    ],
)
def test_bad_keys_are_not_made(ring: KeyRing, fields: dict):
    with pytest.raises(ValueError, match=r"role|label|rate|expires|collection"):
        ring.create(**({"label": "x", "roles": ["verify"]} | fields))
    assert ring.keys() == []


def test_a_key_that_was_made_elsewhere_works_at_once(open_store: Callable[[], Store], clock: Clock):
    here, there = opened(open_store(), clock), opened(open_store(), clock)
    assert here.keys() == there.keys() == []
    key, token = here.create("door", ["verify"])
    assert there.authenticate(token) == key
    new = here.rotate(key.id)[1]
    assert there.authenticate(new) == key
