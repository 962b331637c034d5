"""`allinone-face audit verify`: follow the chain of hashes through the audit log."""

from __future__ import annotations

import argparse
import sys

from service.commands import CommandError, add_action, add_actions
from service.config import Settings
from service.http.audit import verify


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `audit`."""
    text = "check that no line of the audit log was changed, taken out or put in"
    add_action(add_actions(parser), "verify", check, text, "allinone-face audit verify")


def check(settings: Settings, _: argparse.Namespace) -> int:
    """Return 0 for a log that is whole, 1 for one that is not."""
    try:
        result = verify(settings.data_dir)
    except OSError as error:
        raise CommandError(f"the audit log cannot be read: {error.strerror or error}") from error
    if result.broken:
        sys.stdout.write(f"broken at {result.broken}, after {result.lines} good lines\n")
        return 1
    start = "" if result.complete else "; older files were deleted by rotation"
    sys.stdout.write(f"{result.lines} lines are whole, the last hash is {result.head}{start}\n")
    return 0
