"""Upkeep by the store's clock: expiries are told one by one, a clock that jumps a day stops them."""

import logging
import sqlite3
import time
from pathlib import Path

import pytest

from service.config import Settings
from service.gallery import Policy
from service.gallery.maintenance import ClockWatch, maintain
from service.gallery.resources import Resources
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.upkeep import Expiry
from service.ops.metrics import Metrics
from service.redis_access import USERS
from tests.service.gallery.people import DIMENSION, MODEL, Clock
from tests.service.queue.processes import RedisServer


@pytest.fixture
def resources(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Resources:
    """A gallery with a guest who has a day and a second, by a clock that the test sets."""
    monkeypatch.setattr(time, "time", clock)
    made = Resources(Settings(data_dir=tmp_path))
    made.gallery.put_collection("guests", MODEL, DIMENSION, Policy(ttl=86_401))
    made.gallery.put_subject("guests", "ada")
    return made


def test_every_expiry_is_told(resources: Resources, clock: Clock):
    steady, told, metrics = Clock(0), list[Expiry](), Metrics()
    watch = ClockWatch(resources.gallery.encrypted.now, steady)
    maintain(resources, metrics, watch, told.append)
    assert told == []
    clock.now += 90_000
    steady.now += 90_000
    maintain(resources, metrics, watch, told.append)
    assert told == [Expiry("guests", "ada")]
    resources.close()


def test_a_jump_of_a_day_deletes_nobody(resources: Resources, clock: Clock, caplog: pytest.LogCaptureFixture):
    steady, told, metrics = Clock(0), list[Expiry](), Metrics()
    watch = ClockWatch(resources.gallery.encrypted.now, steady)
    clock.now += 90_000
    steady.now += 60
    with caplog.at_level(logging.ERROR):
        maintain(resources, metrics, watch, told.append)
    assert told == []
    assert "the clock was set" in caplog.text
    assert jump_in(metrics) == pytest.approx(89_940)
    assert resources.gallery.collection("guests").subjects == 1
    clock.now -= 89_940
    maintain(resources, metrics, watch, told.append)
    assert jump_in(metrics) == 0
    resources.close()


def jump_in(metrics: Metrics) -> float:
    """What the alert FaceClockSet looks at."""
    [line] = [line for line in metrics.render().decode().splitlines() if line.startswith("face_clock_jump_seconds ")]
    return float(line.split()[1])


def test_a_file_never_goes_back_in_time(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time", clock)
    store = SqliteStore(tmp_path / "gallery.db")
    first = store.now()
    clock.now -= 1000
    assert store.now() == first
    store.close()
    again = SqliteStore(tmp_path / "gallery.db")
    assert again.now() == first
    clock.now += 1_000_000
    assert again.now() == clock.now, "a time that the clock jumped to is told,"
    clock.now -= 999_000
    assert again.now() == first, "and not remembered"
    again.close()
    with sqlite3.connect(tmp_path / "gallery.db") as connection:
        assert connection.execute("SELECT latest FROM clock").fetchall() == [(first,)]


def test_redis_tells_the_time(shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch):
    store = RedisStore(shared_redis.url)
    monkeypatch.setattr(time, "time", Clock(5.0))
    seconds, microseconds = shared_redis.client.time()
    assert store.now() == pytest.approx(seconds + microseconds / 1e6, abs=2)
    store.close()


def test_a_user_of_redis_who_may_not_rewrite_its_file_maintains_all_else(server: RedisServer, tmp_path: Path):
    """As the user that `allinone-face redis-users` makes for API processes."""
    server.client.execute_command("ACL", "SETUSER", "api", "on", "nopass", *USERS["api"].split())
    url = server.url.replace("unix://", "unix://api:@")
    resources, told, metrics = Resources(Settings(data_dir=tmp_path, redis_url=url)), list[Expiry](), Metrics()
    resources.gallery.put_collection("guests", MODEL, DIMENSION)
    resources.gallery.put_subject("guests", "ada", ttl=0.01)
    resources.gallery.put_subject("guests", "bob")
    time.sleep(0.02)
    maintain(resources, metrics, ClockWatch(resources.gallery.encrypted.now), told.append)
    assert told == [Expiry("guests", "ada")]
    assert "face_gallery_size 1.0" in metrics.render().decode()
    resources.close()
    server.client.execute_command("ACL", "DELUSER", "api")
