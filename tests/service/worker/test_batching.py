"""Batches: nothing lost, nothing twice, in order, within the caps; an idle device never waits."""

import threading
import time
from dataclasses import dataclass
from itertools import pairwise
from queue import Queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.worker import batching
from service.worker.batching import Gate, arrivals, batches
from tests.service.serving import until


@dataclass(frozen=True)
class Item:
    number: int
    pixels: int


streams = st.lists(st.one_of(st.none(), st.integers(1, 50)), max_size=60).map(
    lambda sizes: [None if size is None else Item(i, size) for i, size in enumerate(sizes)]
)


@given(streams, st.integers(1, 8), st.integers(1, 100))
def test_batches(stream: list[Item | None], most: int, pixels: int) -> None:
    cut = list(batches(stream, most, pixels))
    assert [item for batch in cut for item in batch] == [item for item in stream if item is not None]
    for batch in cut:
        assert 1 <= len(batch) <= most
        assert sum(item.pixels for item in batch) <= pixels or len(batch) == 1
    for batch, after in pairwise(cut):
        last, first = stream.index(batch[-1]), stream.index(after[0])
        paused = None in stream[last:first]
        full = len(batch) == most or sum(item.pixels for item in batch) + after[0].pixels > pixels
        assert paused or full, "a batch ended for no reason"


def test_a_full_batch_does_not_wait_for_the_next_item() -> None:
    def stream():
        yield Item(0, 1)
        yield Item(1, 1)
        raise AssertionError("asked for more than the batch needs")

    assert next(batches(stream(), 2, 100)) == [Item(0, 1), Item(1, 1)]


def take(queue: Queue, linger: float, more: bool) -> tuple[list[list[Item]], float]:
    started = time.monotonic()
    found = list(batches(arrivals(queue, linger, lambda: more), 8, 1000))
    return found, time.monotonic() - started


def test_what_is_there_goes_together_and_the_end_is_seen() -> None:
    queue: Queue = Queue()
    for item in (Item(0, 1), Item(1, 1), Item(2, 1), None):
        queue.put(item)
    found, seconds = take(queue, 5.0, more=True)
    assert [len(batch) for batch in found] == [3]
    assert seconds < 1


def later(queue: Queue, *times_and_items: tuple[float, Item | None]) -> threading.Thread:
    def put() -> None:
        for seconds, item in times_and_items:
            time.sleep(seconds)
            queue.put(item)

    thread = threading.Thread(target=put)
    thread.start()
    return thread


def test_an_idle_device_takes_a_lonely_item_at_once() -> None:
    queue: Queue = Queue()
    stream = batches(arrivals(queue, 5.0, lambda: False), 8, 1000)
    queue.put(Item(0, 1))
    started = time.monotonic()
    assert next(stream) == [Item(0, 1)]
    assert time.monotonic() - started < 1


def test_it_lingers_only_while_more_is_coming_and_not_for_ever() -> None:
    queue: Queue = Queue()
    stream = batches(arrivals(queue, 0.4, lambda: True), 8, 1000)
    thread = later(queue, (0, Item(0, 1)), (0.02, Item(1, 1)))
    started = time.monotonic()
    assert next(stream) == [Item(0, 1), Item(1, 1)]
    assert 0.35 < time.monotonic() - started < 5
    thread.join()


def test_a_long_pause_is_told_once_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "IDLE_SECONDS", 0.2)
    calls: list[float] = []
    queue: Queue = Queue()
    started = time.monotonic()
    thread = later(queue, (0, Item(0, 1)), (0.02, Item(1, 1)), (0.7, Item(2, 1)), (0, None))
    stream = arrivals(queue, 0.0, lambda: False, lambda: calls.append(time.monotonic() - started))
    assert [item.number for item in stream if item] == [0, 1, 2]
    assert len(calls) == 1
    assert 0.2 < calls[0] < 0.7
    thread.join()


def test_gate_holds_back_by_number_and_by_pixels_and_lets_a_giant_in_alone() -> None:
    gate = Gate(2, 100)
    gate.enter(60)
    entered = threading.Event()
    thread = threading.Thread(target=lambda: (gate.enter(60), entered.set()))
    thread.start()
    assert not entered.wait(0.1)
    gate.leave(60)
    assert entered.wait(2)
    assert gate.room() == 1
    gate.leave(60)
    thread.join()
    gate.enter(10_000)
    assert gate.room() == 1
    gate.leave(10_000)
    assert gate.room() == 2


@pytest.mark.parametrize("threads", [6])
def test_gate_is_never_overfull(threads: int) -> None:
    gate, lock, inside, worst = Gate(3, 100), threading.Lock(), [], []

    def pass_through(pixels: int) -> None:
        for _ in range(50):
            gate.enter(pixels)
            with lock:
                inside.append(pixels)
                worst.append((len(inside), sum(inside)))
            with lock:
                inside.remove(pixels)
            gate.leave(pixels)

    crowd = [threading.Thread(target=pass_through, args=(20 + 10 * i,)) for i in range(threads)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(20)
    assert len(worst) == 50 * threads
    assert max(count for count, _ in worst) <= 3
    assert max(total for _, total in worst) <= 100


def test_one_that_enters_alone_waits_for_all_and_all_wait_for_it() -> None:
    gate, order = Gate(8, 1000), []
    gate.enter(1)

    def follow() -> None:
        gate.enter(1, alone=True)
        order.append("alone")
        gate.enter(1)
        order.append("after")

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    time.sleep(0.1)
    assert order == []
    gate.leave(1)
    until(lambda: order == ["alone"])
    entering = threading.Thread(target=lambda: order.append(gate.room()), daemon=True)
    entering.start()
    time.sleep(0.1)
    assert order == ["alone"], "there is no room beside it"
    gate.leave(1)
    thread.join(5)
    entering.join(5)
    assert order[0] == "alone"
    assert set(order[1:]) in ({"after", 8}, {"after", 7})


def test_a_closed_gate_keeps_nobody() -> None:
    gate = Gate(1, 10)
    gate.enter(10)
    waiting = threading.Thread(target=lambda: (gate.room(), gate.enter(10)), daemon=True)
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    gate.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert gate.room() == 0
