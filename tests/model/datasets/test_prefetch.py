"""Batches that a thread makes ahead; those of worker processes are in tests/model/evaluate/paper."""

from threading import Event
from time import monotonic, sleep

import pytest
import torch

from model.datasets.prefetch import prefetch


def test_batches_keep_their_order():
    made = list(prefetch(lambda step: (str(step), {"x": torch.tensor(step)}), 3, 30))
    assert [name for name, _ in made] == [str(step) for step in range(3, 30)]
    assert [batch["x"].item() for _, batch in made] == list(range(3, 30))
    assert list(prefetch(lambda step: (str(step), {}), 5, 5)) == []


def test_the_thread_is_ahead_but_not_far():
    made: list[int] = []
    batches = prefetch(lambda step: (str(step), {"x": torch.tensor(made.append(step) or 0)}), 0, 100)
    next(batches)
    until = monotonic() + 10
    while len(made) < 4 and monotonic() < until:
        sleep(0.01)
    sleep(0.05)
    assert 4 <= len(made) <= 6
    batches.close()


def test_an_error_in_the_thread_comes_up_after_what_was_before_it():
    def make(step: int) -> tuple[str, dict[str, torch.Tensor]]:
        if step == 2:
            raise KeyError("photo lost")
        return str(step), {}

    seen = []
    with pytest.raises(KeyError, match="photo lost"):
        seen.extend(name for name, _ in prefetch(make, 0, 10))
    batches = prefetch(make, 0, 10)
    assert [next(batches)[0], next(batches)[0]] == ["0", "1"]
    with pytest.raises(KeyError):
        next(batches)


def test_leaving_early_ends_the_thread():
    ended = Event()

    class Last:
        def __del__(self) -> None:
            ended.set()

    def make(step: int, _keep: Last = Last()) -> tuple[str, dict[str, torch.Tensor]]:  # noqa: B008
        return str(step), {}

    batches = prefetch(make, 0, 10**6)
    next(batches)
    batches.close()
    del make, batches
    assert ended.wait(10)
