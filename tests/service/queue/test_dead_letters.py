"""Dead letters from the command line, with real processes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from service.__main__ import main
from tests.service.queue.device import photo
from tests.service.queue.processes import PREFIX, Processes, RedisServer, until

pytestmark = pytest.mark.slow


@pytest.fixture
def command(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[object, str, str]]:
    """`allinone-face dead-letters …`: its exit status and what it wrote."""

    def run(*words: str, url: str | None = server.url) -> tuple[object, str, str]:
        monkeypatch.setenv("FACE_REDIS_URL", url) if url else monkeypatch.delenv("FACE_REDIS_URL", raising=False)
        with pytest.raises(SystemExit) as ended:
            main(["dead-letters", *words])
        return ended.value.code, *capsys.readouterr()

    return run


def test_they_are_listed_replayed_and_dropped(
    server: RedisServer, processes: Processes, weights: Path, command: Callable[..., tuple[object, str, str]]
) -> None:
    api = processes.api()
    for number in range(2):
        worker = processes.worker(weights, FACE_QUEUE_DELIVERIES="1")
        until(lambda worker=worker: worker.ready() and api.ready())
        spare = processes.worker(weights, FACE_QUEUE_DELIVERIES="1")
        until(spare.ready)
        answer = api.post("/v1/faces", content=photo("red"), headers={"X-Request-ID": f"r{number}"})
        assert answer.json()["code"] == "worker_lost"
        for started in (worker, spare):
            started.kill()
    status, lines, _ = command("list")
    assert status == 0
    letters = [json.loads(line) for line in lines.splitlines()]
    assert [letter["request_id"] for letter in letters] == ["r0", "r1"]
    assert [letter["deliveries"] for letter in letters] == [1, 1]
    assert all(letter["bytes"] == len(photo("red")) for letter in letters)

    first, second = (letter["id"] for letter in letters)
    assert command("replay", "1-1") == (1, "", "allinone-face: no dead letter 1-1\n")
    [(_, fields), _] = server.client.xrange(f"{PREFIX}dead_letters")
    server.client.xdel(f"{PREFIX}dead_letters", first)  # as if mended: the same job with a photo that harms nobody
    mended = server.client.xadd(f"{PREFIX}dead_letters", {**fields, b"i": photo("grey")}).decode()
    healthy = processes.worker(weights)
    until(lambda: healthy.ready() and api.ready())
    status, lines, _ = command("replay", mended)
    assert status == 0
    assert json.loads(lines)["analysis"]["faces"] == []
    assert [json.loads(line)["id"] for line in command("list")[1].splitlines()] == [second]
    assert command("drop", "--all") == (0, '{"dropped": 1}\n', "")
    assert command("list") == (0, "", "")
    assert command("drop", second) == (1, "", f"allinone-face: no dead letter {second}\n")


@pytest.mark.parametrize("words", [["list"], ["drop", "--all"], ["replay", "--all"]])
def test_without_redis_they_say_so(command: Callable[..., tuple[object, str, str]], words: list[str]) -> None:
    assert command(*words, url=None) == (1, "", "allinone-face: dead letters are in Redis: set FACE_REDIS_URL\n")
    status, _, said = command(*words, url="unix:///nowhere/redis.sock")
    assert status == 1
    assert said.startswith("allinone-face: the queue cannot be reached")
