"""How long a wrong secret takes tells nothing of the right one."""

import gc
import statistics
import time
from pathlib import Path

import pytest

from service.config import Settings
from service.gallery.resources import open_keys
from service.keys import Unauthorized
from service.keys.key_ring import KeyRing

ROUNDS = 400
ATTEMPTS = 5
"""What a busy machine spoils once is measured again; what tells of a secret tells each time."""


def seconds(ring: KeyRing, token: str) -> float:
    started = time.perf_counter()
    with pytest.raises(Unauthorized):
        ring.authenticate(token)
    return time.perf_counter() - started


def fastest_tenth(ring: KeyRing, tokens: dict[str, str]) -> dict[str, float]:
    """Return the mean seconds of the fastest refusals of each kind, measured in turn."""
    taken: dict[str, list[float]] = {kind: [] for kind in tokens}
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for kind, wrong in tokens.items():
                taken[kind].append(seconds(ring, wrong))
    finally:
        gc.enable()
    return {kind: statistics.mean(sorted(times)[: ROUNDS // 10]) for kind, times in taken.items()}


def test_no_wrong_token_is_refused_sooner_than_another(tmp_path: Path) -> None:
    """What slows a machine down slows all kinds alike."""
    with open_keys(Settings(data_dir=tmp_path)) as ring:
        _, token = ring.create("door", ["verify"])
        _, identity, secret = token.split("_", 2)
        other = "b" if secret[-1] != "b" else "c"
        tokens = {
            "all but the last letter right": f"face_{identity}_{secret[:-1]}{other}",
            "only the first letter right": f"face_{identity}_{secret[0]}{'a' * 42}",
            "nothing right": f"face_{identity}_{'b' if secret[0] != 'b' else 'c'}{'a' * 42}",
        }
        for _ in range(ATTEMPTS):
            best = fastest_tenth(ring, tokens)
            if max(best.values()) < 1.15 * min(best.values()):
                return
        pytest.fail(f"each of {ATTEMPTS} times: {best}")
