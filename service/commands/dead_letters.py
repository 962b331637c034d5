"""`allinone-face dead-letters list|replay|drop`: images that workers died on, put aside in Redis."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from redis.exceptions import RedisError

from service.broker.dead_letters import DeadLetter, DeadLetters
from service.broker.seal import open_seal
from service.commands import CommandError, Commands
from service.commands.api import open_api
from service.config import Settings
from service.errors import ServiceError


def add(commands: Commands) -> None:
    """The parsers of `dead-letters`."""
    parser = commands.add_parser("dead-letters", help="images that workers died on: list, replay or drop them")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("list", help="a JSON line for each, without its photo").set_defaults(command=show)
    for name, command, text in (
        ("replay", replay, "give them to a worker again; a JSON line with each answer"),
        ("drop", drop, "delete them with their photos"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(command=command)
        which = action.add_mutually_exclusive_group(required=True)
        which.add_argument("ids", nargs="*", metavar="ID", default=[], help="as `list` shows it")
        which.add_argument("--all", action="store_true", help="all of them")


def show(settings: Settings, _: argparse.Namespace) -> int:
    """A line for each."""
    with _letters(settings) as letters:
        for letter in letters.list():
            _write(_shown(letter))
    return 0


def replay(settings: Settings, arguments: argparse.Namespace) -> int:
    """A line for each with its answer; 1 when one has none."""
    failed = 0
    with _letters(settings) as letters:
        known = {letter.id: letter for letter in letters.list()}
        for name in list(known) if arguments.all else arguments.ids:
            if name not in known:
                raise CommandError(f"no dead letter {name}")
            try:
                result = letters.replay(known[name], open_api(settings), settings.timeout)
            except ServiceError as error:
                raise CommandError(error.detail) from error
            failed += result.code is not None
            _write({"id": name, "code": result.code, "model": result.model, "analysis": result.analysis})
    return 1 if failed else 0


def drop(settings: Settings, arguments: argparse.Namespace) -> int:
    """Says how many went; 1 when one was not there."""
    with _letters(settings) as letters:
        wanted = letters.ids() if arguments.all else arguments.ids
        if set(wanted) - set(letters.ids()):
            raise CommandError(f"no dead letter {min(set(wanted) - set(letters.ids()))}")
        _write({"dropped": letters.drop(wanted)})
    return 0


def _shown(letter: DeadLetter) -> dict[str, object]:
    when = datetime.fromtimestamp(letter.put_aside, UTC).isoformat(timespec="seconds")
    known = {"id": letter.id, "put_aside": when, "deliveries": letter.deliveries, "request_id": letter.request_id}
    return known | {"bytes": letter.size, "pixels": letter.pixels, "model": letter.model}


def _write(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


@contextmanager
def _letters(settings: Settings) -> Iterator[DeadLetters]:
    if settings.redis_url is None:
        raise CommandError("dead letters are in Redis: set FACE_REDIS_URL")
    try:
        seal = open_seal(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        with DeadLetters(settings.redis_url, seal) as letters:
            yield letters
    except (RedisError, ValueError) as error:
        raise CommandError(f"the queue cannot be reached: {error}") from error
