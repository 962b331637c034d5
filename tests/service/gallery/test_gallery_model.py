"""The gallery against a dict: whatever is done in whatever order by whichever of two processes, both agree.

Over each store.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from model.identity import templates
from service.crypto.vault import Vault
from service.gallery import NewMedium
from service.gallery.errors import MediumNotFound, NoTemplate, SubjectNotFound
from service.gallery.gallery import Gallery
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.upkeep import purge, rotate
from tests.service.gallery.people import MASTER, MODEL, Clock
from tests.service.queue.processes import RedisServer, redis_server

pytestmark = pytest.mark.slow

D = 6
NAMES, MEDIA, PROCESSES = st.sampled_from(["ada", "bob", "eve", "zoë"]), st.sampled_from("xyz"), st.sampled_from([0, 1])
PROBES = st.integers(0, 50).map(lambda seed: np.random.default_rng(seed).normal(size=D).astype(np.float32))


class GalleryModel(RuleBasedStateMachine):
    """`people` is what should be there: media by subject, metadata, and when it ends."""

    server: RedisServer | None = None

    @initialize()
    def open(self) -> None:
        """An empty collection in a new store."""
        self.folder = tempfile.TemporaryDirectory()
        if self.server:
            self.server.client.flushall()
        self.clock = Clock()
        self.processes = [self.opened(), self.opened()]
        self.processes[0].put_collection("people", MODEL, D)
        self.people: dict[str, dict[str, np.ndarray]] = {}
        self.metadata: dict[str, dict] = {}
        self.ends: dict[str, float] = {}
        self.ttl: dict[str, float] = {}

    def opened(self) -> Gallery:
        store = RedisStore(self.server.url) if self.server else SqliteStore(Path(self.folder.name) / "gallery.db")
        return Gallery(store, Vault([MASTER]), self.clock)

    def teardown(self) -> None:
        if hasattr(self, "processes"):
            for process in self.processes:
                process.close()
            self.folder.cleanup()

    def touched(self, name: str) -> None:
        if name in self.ttl:
            self.ends[name] = self.clock.now + self.ttl[name]

    @rule(process=PROCESSES, name=NAMES, value=st.integers(0, 9), ttl=st.sampled_from([None, None, 10.0]))
    def put(self, process: int, name: str, value: int, ttl: float | None) -> None:
        _, new = self.processes[process].put_subject("people", name, {"value": value}, ttl)
        assert new is (name not in self.people)
        self.people.setdefault(name, {})
        self.metadata[name] = {"value": value}
        if ttl is not None:
            self.ttl[name] = ttl
        self.touched(name)

    @rule(process=PROCESSES, name=NAMES, medium=MEDIA, vector=PROBES, create=st.booleans())
    def enrol(self, process: int, name: str, medium: str, vector: np.ndarray, create: bool) -> None:
        new = NewMedium(medium, vector[None], np.ones(1, np.float32))
        try:
            self.processes[process].add_media("people", name, MODEL, [new], create=create)
        except SubjectNotFound:
            assert name not in self.people
            assert not create
            return
        assert create or name in self.people
        self.people.setdefault(name, {})[medium] = vector
        self.metadata.setdefault(name, {})
        self.touched(name)

    @rule(process=PROCESSES, name=NAMES, medium=MEDIA)
    def drop_medium(self, process: int, name: str, medium: str) -> None:
        try:
            self.processes[process].delete_medium("people", name, medium)
        except SubjectNotFound:
            assert name not in self.people
        except MediumNotFound:
            assert medium not in self.people[name]
        else:
            del self.people[name][medium]
            self.touched(name)

    @rule(process=PROCESSES, name=NAMES)
    def forget(self, process: int, name: str) -> None:
        try:
            receipt = self.processes[process].delete_subject("people", name)
        except SubjectNotFound:
            assert name not in self.people
        else:
            assert receipt.media == len(self.people[name])
            self.lost(name)

    def lost(self, name: str) -> None:
        for kept in (self.people, self.metadata, self.ends, self.ttl):
            kept.pop(name, None)

    @rule(seconds=st.sampled_from([1.0, 6.0]), tidy=st.booleans())
    def time_passes(self, seconds: float, tidy: bool) -> None:
        self.clock.now += seconds
        for name in [name for name, end in self.ends.items() if end <= self.clock.now]:
            self.lost(name)
        if tidy:
            purge(self.processes[0])

    @rule(process=PROCESSES)
    def reopen(self, process: int) -> None:
        self.processes[process].close()
        self.processes[process] = self.opened()

    @rule(process=PROCESSES)
    def new_key(self, process: int) -> None:
        rotate(self.processes[process].encrypted, "people")

    @rule(process=PROCESSES, probe=PROBES, count=st.integers(1, 5))
    def search(self, process: int, probe: np.ndarray, count: int) -> None:
        found = self.processes[process].search("people", MODEL, probe, count).matches
        wanted = sorted(
            ((float(templates.cosine(probe, pooled(media))), name) for name, media in self.people.items() if media),
            reverse=True,
        )[:count]
        np.testing.assert_allclose([m.similarity for m in found], [score for score, _ in wanted], atol=1e-5)
        for match in found:
            assert match.metadata == self.metadata[match.subject]

    @rule(process=PROCESSES, name=NAMES, probe=PROBES)
    def verify(self, process: int, name: str, probe: np.ndarray) -> None:
        try:
            similarity = self.processes[process].verify("people", name, MODEL, probe).similarity
        except SubjectNotFound:
            assert name not in self.people
        except NoTemplate:
            assert not self.people[name]
        else:
            assert abs(similarity - templates.cosine(probe, pooled(self.people[name]))) < 1e-5

    @invariant()
    def the_same_people(self) -> None:
        if not hasattr(self, "processes"):
            return
        for process in self.processes:
            found = {s.id: ({m.id for m in s.media}, s.metadata) for s in process.subjects("people").items}
            assert found == {name: (set(media), self.metadata[name]) for name, media in self.people.items()}


def pooled(media: dict[str, np.ndarray]) -> np.ndarray:
    return templates.pool([templates.Medium(vector[None]) for vector in media.values()]).vector


class OverSqlite(GalleryModel):
    """A file of each example's own."""


class OverRedis(GalleryModel):
    """Emptied for each example."""


@pytest.fixture(scope="module")
def redis_7() -> Iterator[RedisServer]:
    """Its own, for it is emptied all the time."""
    with redis_server() as server:
        yield server


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", [OverSqlite, OverRedis])
def test_the_gallery_does_what_a_dict_does(machine: type[GalleryModel], request: pytest.FixtureRequest):
    if machine is OverRedis:
        machine.server = request.getfixturevalue("redis_7")
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
