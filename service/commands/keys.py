"""`allinone-face keys create|list|rotate|revoke`: API keys, changed in the store itself, without a server."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from service.commands import CommandError, add_action, add_actions, complain
from service.config import Settings
from service.errors import ServiceError
from service.gallery.resources import open_keys
from service.keys import ROLES, Key
from service.keys.key_ring import KeyRing

BURST = 20
DAY = 86_400


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `keys`."""
    actions = add_actions(parser)
    action = add_action(
        actions,
        "create",
        create_key,
        "make a key; it is shown once",
        "allinone-face keys create 'front door' --role verify --collection staff --rate 5",
        "allinone-face keys create administrator --role admin --expires-in 90",
    )
    action.add_argument("label", metavar="NAME", help="what the key is for")
    action.add_argument("--role", action="append", required=True, choices=ROLES, help="may be given several times")
    action.add_argument(
        "--collection",
        action="append",
        default=[],
        metavar="C",
        help="allow this collection only; C* allows every name that begins with C; may be given several times (all)",
    )
    action.add_argument("--rate", type=float, help="requests a second on average (no limit)")
    action.add_argument("--burst", type=int, default=BURST, help=f"requests at once ({BURST})")
    action.add_argument("--expires-in", type=float, metavar="DAYS", help="days after which the key expires (never)")
    add_action(actions, "list", list_keys, "list all keys, without their secrets", "allinone-face keys list")
    text = "give a key a new secret; it is shown once"
    action = add_action(actions, "rotate", rotate_key, text, "allinone-face keys rotate 1f3c5a7b9d2e --grace 3600")
    _add_id(action)
    action.add_argument(
        "--grace", type=float, default=0.0, metavar="SECONDS", help="seconds for which the old secret still works (0)"
    )
    _add_id(add_action(actions, "revoke", revoke_key, "revoke a key", "allinone-face keys revoke 1f3c5a7b9d2e"))


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the key's id, as `list` shows it")


@contextmanager
def _open_keys(settings: Settings) -> Iterator[KeyRing]:
    try:
        with open_keys(settings) as keys:
            yield keys
    except ServiceError as error:
        raise CommandError(error.detail) from error
    except ValueError as error:
        raise CommandError(str(error)) from error


def create_key(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a new key to standard output."""
    expires = None if arguments.expires_in is None else time.time() + DAY * arguments.expires_in
    with _open_keys(settings) as keys:
        key, token = keys.create(
            arguments.label, arguments.role, arguments.rate, arguments.burst, expires, arguments.collection
        )
    complain(f"key {key.id} with the roles {', '.join(sorted(key.roles))}; it is shown this once")
    sys.stdout.write(f"{token}\n")
    return 0


def list_keys(settings: Settings, _: argparse.Namespace) -> int:
    """Write a line for each key."""
    with _open_keys(settings) as keys:
        for key in keys.keys():  # noqa: SIM118 - no mapping
            sys.stdout.write(f"{_summary(key, keys.last_used(key.id))}\n")
    return 0


def rotate_key(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write the new secret of a key to standard output."""
    with _open_keys(settings) as keys:
        rotated = keys.rotate(arguments.id, arguments.grace)
    if rotated is None:
        raise _no_such_key(arguments.id)
    complain(f"key {rotated[0].id} has a new secret; it is shown this once")
    sys.stdout.write(f"{rotated[1]}\n")
    return 0


def revoke_key(settings: Settings, arguments: argparse.Namespace) -> int:
    """Revoke the key of an id. Raises CommandError when there is none."""
    with _open_keys(settings) as keys:
        if not keys.revoke(arguments.id):
            raise _no_such_key(arguments.id)
    return 0


def _no_such_key(identity: str) -> CommandError:
    return CommandError(f"there is no key {identity}; `allinone-face keys list` shows them")


def _summary(key: Key, last_used: float | None) -> str:
    rate = "no limit" if key.rate is None else f"{key.rate:g}/s, {key.burst} at once"
    collections = ", ".join(key.collections) or "all collections"
    validity = "" if key.expires is None else f"until {_day(key.expires)}, "
    last_use = "never used" if last_used is None else f"used {_day(last_used)}"
    roles = ",".join(sorted(key.roles))
    return f"{key.id}  {_day(key.created)}  {roles}  {rate}  {collections}  {validity}{last_use}  {key.label}"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
