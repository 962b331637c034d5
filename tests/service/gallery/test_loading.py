"""An index read from the store in steps is the one that was made by enrolling."""

from collections.abc import Callable

import numpy as np
import pytest

from service.crypto.vault import Vault
from service.gallery import NewMedium, Part
from service.gallery.gallery import Gallery
from service.gallery.indexes import template_indexes as indices
from service.gallery.stores.store import Store
from tests.service.gallery.people import DIMENSION, MASTER, MODEL


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_steps_of_any_size_read_the_same(open_store: Callable[[], Store], step: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(indices, "SHARD", step)
    rng = np.random.default_rng(step)
    old, late = (Gallery(open_store(), Vault([MASTER])) for _ in range(2))

    def vector() -> np.ndarray:
        return rng.normal(size=(1, DIMENSION)).astype(np.float32)

    def enrol(number: int, medium: str = "m") -> None:
        media = [NewMedium(medium, vector(), np.ones(1, np.float32))]
        old.add_media("people", f"p{number}", MODEL, media, create=True)

    old.put_collection("people", MODEL, DIMENSION)
    for number in range(20):
        enrol(number)
        if number == 10:
            assert late.warm("people") == 11
    for number in range(0, 20, 3):
        enrol(number, "another")  # moved behind the others
    old.delete_subject("people", "p4")
    old.delete_medium("people", "p5", "m")
    new = Gallery(open_store(), Vault([MASTER]))
    parts = [Gallery(open_store(), Vault([MASTER]), part=Part(number, 2)) for number in range(2)]
    probe = vector()[0]
    found = [gallery.search("people", MODEL, probe, 30).matches for gallery in (old, late, new)]
    assert len(found[0]) == 18
    assert found[0] == found[1] == found[2]
    assert sorted(
        match.subject for part in parts for match in part.search("people", MODEL, probe, 30).matches
    ) == sorted(match.subject for match in found[0])
