"""The commands, a file a group; each has add(commands), which adds its parsers, and loads what it needs when it runs.

A command is a function of the settings and its arguments that returns the exit status. What it raises as CommandError
is all its user sees.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from typing import TypeAlias

from service.config import Settings

Command: TypeAlias = Callable[[Settings, argparse.Namespace], int]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class CommandError(Exception):
    """Something the user can mend; its text is all they see."""


def complain(text: str) -> None:
    """Write each line to standard error with the program's name before it."""
    for line in text.splitlines():
        sys.stderr.write(f"allinone-face: {line}\n")


def settle() -> None:
    """What is there by now stays: the garbage collector looks at it no more, for which all would wait up to 0.1 s."""
    gc.collect()
    gc.freeze()
