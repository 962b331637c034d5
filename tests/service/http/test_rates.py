"""Rates of keys and of what is compared."""

import pytest

from service.http.rates import RateLimiter, WindowLimiter
from service.keys import Key, RateLimited
from tests.service.gallery.people import Clock


def test_a_rate_lets_a_burst_through_and_then_the_rate(clock: Clock):
    limiter = RateLimiter(clock)
    key = Key("1", "door", frozenset({"verify"}), 0, rate=2, burst=5)
    other = Key("2", "free", frozenset({"verify"}), 0)
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


def test_a_dear_request_costs_more(clock: Clock):
    limiter = RateLimiter(clock)
    key = Key("1", "door", frozenset({"verify"}), 0, rate=0.5, burst=10)
    limiter.take(key, cost=8)
    with pytest.raises(RateLimited) as caught:
        limiter.take(key, cost=8)
    assert caught.value.headers["Retry-After"] == "12"


def test_each_name_has_so_many_a_minute(clock: Clock):
    limiter = WindowLimiter(clock)
    for _ in range(60):
        limiter.take("staff/ada", 60)
    limiter.take("staff/bob", 60)
    with pytest.raises(RateLimited) as caught:
        limiter.take("staff/ada", 60)
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    clock.now += 60
    limiter.take("staff/ada", 60)
