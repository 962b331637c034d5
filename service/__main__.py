"""The command line `allinone-face`: settings and arguments in, one command of service.commands, its exit status out."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from service.commands import (
    CommandError,
    analyze,
    api,
    complain,
    dead_letters,
    identity,
    master_key,
    searcher,
    serve,
    worker,
)
from service.config import Settings, explain

GROUPS = (serve, api, worker, searcher, analyze, identity, master_key, dead_letters)


def main(words: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed with a clear line on standard error, 2 bad arguments or settings."""
    arguments = _parser().parse_args(words)
    names = ("host", "port", "metrics_port", "device", "dtype", "weights", "proposals", "url")
    given = {name: getattr(arguments, name, None) for name in names}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        complain(explain(error))
        sys.exit(2)
    try:
        status = arguments.command(settings, arguments)
    except CommandError as error:
        complain(str(error))
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # who read our output has left, e.g. `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "allinone-face", description="Faces in photos. Settings are also read from FACE_…."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in GROUPS:
        group.add(commands)
    return parser


if __name__ == "__main__":
    main()
