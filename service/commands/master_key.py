"""`allinone-face master-key new|rewrap`: the key that wraps the galleries' keys, and changing it without downtime."""

from __future__ import annotations

import argparse
import base64
import json
import sys

from service.commands import CommandError, add_action, add_actions
from service.config import Settings
from service.crypto.vault import new_key
from service.errors import ServiceError
from service.gallery.resources import open_encrypted, open_store
from service.gallery.upkeep import rewrap


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `master-key`."""
    actions = add_actions(parser)
    add_action(actions, "new", make, "print a new key", "allinone-face master-key new > master.key")
    text = "encrypt all stored keys with the first master key; the others are then no longer needed"
    add_action(actions, "rewrap", change, text, "FACE_MASTER_KEY=NEW,OLD allinone-face master-key rewrap")


def make(_: Settings, __: argparse.Namespace) -> int:
    """Write a new key in base64 to standard output."""
    sys.stdout.write(base64.b64encode(new_key()).decode() + "\n")
    return 0


def change(settings: Settings, _: argparse.Namespace) -> int:
    """Wrap all stored keys with the first master key and write how many were changed. It may be run again."""
    try:
        store = open_store(settings)
        try:
            rewrapped = rewrap(open_encrypted(settings, store))
        finally:
            store.close()
    except ServiceError as error:
        raise CommandError(error.detail or error.title) from error
    sys.stdout.write(json.dumps({"rewrapped": rewrapped}) + "\n")
    return 0
