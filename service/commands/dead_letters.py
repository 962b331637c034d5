"""`allinone-face dead-letters list|replay|drop`: images that workers died on, put aside in Redis."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from msgspec import to_builtins
from redis.exceptions import RedisError

from service.commands import CommandError, add_action, add_actions
from service.commands.api import open_queue
from service.config import Settings
from service.crypto.queue_cipher import has_queue_key, load_queue_cipher
from service.errors import ServiceError
from service.queue.dead_letters import DeadLetter, DeadLetters
from service.wire import AnalysisFailure, AnalysisOutcome


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `dead-letters`."""
    actions = add_actions(parser)
    text = "print a JSON line for each dead letter, without its photo"
    add_action(actions, "list", show, text, "allinone-face dead-letters list")
    for name, command, text in (
        ("replay", replay, "give dead letters to a worker again; print a JSON line with each answer"),
        ("drop", drop, "delete dead letters with their photos"),
    ):
        action = add_action(actions, name, command, text, f"allinone-face dead-letters {name} --all")
        selection = action.add_mutually_exclusive_group(required=True)
        selection.add_argument("ids", nargs="*", metavar="ID", default=[], help="as `list` shows it")
        selection.add_argument("--all", action="store_true", help="all of them")


def show(settings: Settings, _: argparse.Namespace) -> int:
    """Write a line for each dead letter, without its photo."""
    with _letters(settings) as letters:
        for letter in letters.list():
            _write(_summary(letter))
    return 0


def replay(settings: Settings, arguments: argparse.Namespace) -> int:
    """Give dead letters to a worker again and write a line with each answer; return 1 when one failed again."""
    failed = 0
    with _letters(settings) as letters:
        letters_by_id = {letter.id: letter for letter in letters.list()}
        for name in list(letters_by_id) if arguments.all else arguments.ids:
            if name not in letters_by_id:
                raise CommandError(f"no dead letter {name}")
            try:
                outcome = letters.replay(letters_by_id[name], open_queue(settings), settings.timeout)
            except ServiceError as error:
                raise CommandError(error.detail) from error
            failed += isinstance(outcome, AnalysisFailure)
            _write({"id": name, **_answer(outcome)})
    return 1 if failed else 0


def drop(settings: Settings, arguments: argparse.Namespace) -> int:
    """Delete dead letters and write how many there were. Raises CommandError for one that is not there."""
    with _letters(settings) as letters:
        ids = letters.ids() if arguments.all else arguments.ids
        if set(ids) - set(letters.ids()):
            raise CommandError(f"no dead letter {min(set(ids) - set(letters.ids()))}")
        _write({"dropped": letters.delete(ids)})
    return 0


def _summary(letter: DeadLetter) -> dict[str, object]:
    when = datetime.fromtimestamp(letter.put_aside, UTC).isoformat(timespec="seconds")
    summary = {"id": letter.id, "put_aside": when, "deliveries": letter.deliveries, "request_id": letter.request_id}
    return summary | {"bytes": letter.size, "pixels": letter.pixels, "model": letter.model}


def _answer(outcome: AnalysisOutcome) -> dict[str, object]:
    if isinstance(outcome, AnalysisFailure):
        return {"code": outcome.code, "model": outcome.model, "analysis": None}
    return {"code": None, "model": outcome.model, "analysis": to_builtins(outcome.analysis)}


def _write(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


@contextmanager
def _letters(settings: Settings) -> Iterator[DeadLetters]:
    if settings.redis_url is None:
        raise CommandError("dead letters are in Redis: set FACE_REDIS_URL")
    try:
        cipher = load_queue_cipher(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        with DeadLetters(settings.redis_url, cipher, has_queue_key(settings)) as letters:
            yield letters
    except (RedisError, ValueError) as error:
        raise CommandError(f"the queue cannot be reached: {error}") from error
