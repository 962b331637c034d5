"""The commands of `allinone-face`: a module each, loaded when it is run (service/__main__.py lists them).

A module has add(parser), which adds its arguments and sets `command`: a function of the settings and the arguments
that returns the exit status. What it raises as CommandError is all that its user sees.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from typing import TypeAlias

from service.config import Settings

Command: TypeAlias = Callable[[Settings, argparse.Namespace], int]
Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandError(Exception):
    """An error that the user can correct. Its text is the whole message, written to standard error."""


def complain(text: str) -> None:
    """Write each line to standard error with the program's name before it."""
    for line in text.splitlines():
        sys.stderr.write(f"allinone-face: {line}\n")


def show_examples(parser: argparse.ArgumentParser, *examples: str) -> None:
    """Show examples at the end of a command's help."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "examples:\n" + "\n".join(f"  {line}" for line in examples)


def add_actions(parser: argparse.ArgumentParser) -> Actions:
    """Return the subparsers for a command's actions; its user must name one of them."""
    return parser.add_subparsers(required=True, metavar="ACTION", title="actions")


def add_action(actions: Actions, name: str, command: Command, text: str, *examples: str) -> argparse.ArgumentParser:
    """Add an action with its one-line help and its examples, and return its parser."""
    parser = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.set_defaults(command=command)
    show_examples(parser, *examples)
    return parser


def freeze_startup_objects() -> None:
    """Freeze the objects made at the start, so that full garbage collections skip them (they cost up to 0.1 s).

    See docs/log.md, 'The queue's 3 ms': the 99th percentile of answers fell from 139 to 53 ms.
    """
    gc.collect()
    gc.freeze()
