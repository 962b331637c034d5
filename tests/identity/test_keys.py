"""API keys over both stores: roles, revocation, what is stored, rates."""

import pytest

from service import keys
from service.keys import Forbidden, KeyRing, RateLimited, RateLimiter, Unauthorized


@pytest.fixture
def ring(store, clock):
    return KeyRing(store, clock)


def test_a_key_works_for_its_roles_and_only_its_hash_is_stored(store, ring):
    key, words = ring.create("door", ["verify", "enrol"])
    assert ring.check(words, "verify") == key
    assert ring.check(words, "enrol").label == "door"
    with pytest.raises(Forbidden, match="analyze"):
        ring.check(words, "analyze")
    (stored,) = store.records("key/").values()
    assert words.split("_", 2)[2].encode() not in stored


def test_an_admin_may_do_everything(ring):
    _, words = ring.create("root", ["admin"])
    for role in keys.ROLES:
        ring.check(words, role)


def test_wrong_words_are_refused(ring):
    key, words = ring.create("door", ["verify"])
    other = ring.create("other", ["verify"])[1]
    swapped = f"face_{key.id}_{other.split('_', 2)[2]}"
    unknown = f"face_{'0' * 12}_{words.split('_', 2)[2]}"
    for bad in (None, "", "x", words[:-1], words + "a", words.upper(), swapped, unknown, words + "\n"):
        with pytest.raises(Unauthorized) as caught:
            ring.check(bad, "verify")
        assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_another_process_knows_the_key_and_its_end(open_store, monkeypatch):
    monkeypatch.setattr(keys, "REMEMBERED_SECONDS", 0.0)
    here, there = KeyRing(open_store()), KeyRing(open_store())
    key, words = here.create("door", ["verify"])
    there.check(words, "verify")
    assert here.revoke(key.id)
    for ring in (here, there):
        with pytest.raises(Unauthorized):
            ring.check(words, "verify")
    assert not here.revoke(key.id)


def test_keys_are_listed_without_secrets(ring, clock):
    made = []
    for label in ("first", "second"):
        made.append(ring.create(label, ["analyze"], rate=2.5, burst=3)[0])
        clock.now += 1
    assert ring.keys() == made


@pytest.mark.parametrize(
    ("label", "roles", "rate", "burst"),
    [
        ("x", [], None, 1),
        ("x", ["king"], None, 1),
        ("", ["verify"], None, 1),
        ("x", ["verify"], 0, 1),
        ("x", ["verify"], 1, 0),
    ],
)
def test_bad_keys_are_not_made(ring, label, roles, rate, burst):
    with pytest.raises(ValueError, match=r"role|label|rate"):
        ring.create(label, roles, rate, burst)
    assert ring.keys() == []


def test_a_rate_lets_a_burst_through_and_then_the_rate(ring, clock):
    limiter = RateLimiter(clock)
    key = ring.create("door", ["verify"], rate=2, burst=5)[0]
    other = ring.create("free", ["verify"])[0]
    for _ in range(5):
        limiter.take(key)
    with pytest.raises(RateLimited) as caught:
        limiter.take(key)
    assert caught.value.headers["Retry-After"] == "1"
    limiter.take(other)
    clock.now += 0.5
    limiter.take(key)
    with pytest.raises(RateLimited):
        limiter.take(key)
    clock.now += 3600
    for _ in range(5):
        limiter.take(key)
    with pytest.raises(RateLimited):
        limiter.take(key)


def test_a_dear_request_costs_more(ring, clock):
    limiter = RateLimiter(clock)
    key = ring.create("door", ["verify"], rate=0.5, burst=10)[0]
    limiter.take(key, cost=8)
    with pytest.raises(RateLimited) as caught:
        limiter.take(key, cost=8)
    assert caught.value.headers["Retry-After"] == "12"
