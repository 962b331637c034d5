"""`allinone-face master-key new|rewrap`: the key that wraps the galleries' keys, and changing it without downtime."""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time

from service.commands import CommandError, Commands
from service.config import Settings
from service.errors import ServiceError
from service.gallery.opening import open_store, open_vault
from service.gallery.sealed import SealedStore
from service.gallery.upkeep import rewrap
from service.vault import new_key


def add(commands: Commands) -> None:
    """The parsers of `master-key`."""
    parser = commands.add_parser("master-key", help="make a master key, or change to another")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    actions.add_parser("new", help="print a new key").set_defaults(command=make)
    text = "wrap everything under the first of the keys at hand; the others are then needed no longer"
    actions.add_parser("rewrap", help=text).set_defaults(command=change)


def make(_: Settings, __: argparse.Namespace) -> int:
    """A key in base64 on standard output."""
    sys.stdout.write(base64.b64encode(new_key()).decode() + "\n")
    return 0


def change(settings: Settings, _: argparse.Namespace) -> int:
    """Says how many keys were wrapped anew; again, it goes on."""
    try:
        store = open_store(settings)
        try:
            rewrapped = rewrap(SealedStore(store, open_vault(settings), time.time))
        finally:
            store.close()
    except ServiceError as error:
        raise CommandError(error.detail or error.title) from error
    sys.stdout.write(json.dumps({"rewrapped": rewrapped}) + "\n")
    return 0
