"""The command line `allinone-face`: it reads settings and arguments, runs one command and exits with its status."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from pydantic import ValidationError

from service.commands import CommandError, complain
from service.config import Settings
from service.environment import explain


class Entry(NamedTuple):
    """A command: its module in service.commands, the extra that must be installed for it, and a line of help."""

    module: str
    extra: str
    help: str


COMMANDS = {
    "serve": Entry("serve", "model", "run the API, the pages and the model in one process"),
    "api": Entry("api", "server", "run the API and the pages; workers connect over Redis"),
    "worker": Entry("worker", "model", "run the model on one device, for API processes that share a Redis"),
    "searcher": Entry("searcher", "server", "hold a part of the gallery in memory and answer searches over Redis"),
    "analyze": Entry("analyze", "model", "analyze photos here, without a server, and write JSON lines"),
    "cluster": Entry("cluster", "model", "sort photos here, without a server, into a folder for each person"),
    "compare": Entry("compare", "", "compare two photos: whether they show one person"),
    "enrol": Entry("enrol", "", "add photos of a person to a collection"),
    "bulk-enrol": Entry("bulk_enrol", "", "add a folder of people to a collection"),
    "import": Entry("import_faces", "", "move people here from CompreFace, Amazon Rekognition or a folder"),
    "verify": Entry("verify", "", "compare a photo with a person of a collection"),
    "identify": Entry("identify", "", "find the people of a collection who look like a photo"),
    "people": Entry("people", "", "list, show and delete the people of a collection"),
    "collections": Entry("collections", "", "list, create, show and delete collections"),
    "jobs": Entry("jobs", "", "submit many photos, wait for them and read the results"),
    "settings": Entry("settings", "", "show every setting, its default and what it means"),
    "audit": Entry("audit", "server", "check that nobody changed the audit log"),
    "keys": Entry("keys", "server", "create, list and revoke API keys"),
    "backup": Entry("backup", "server", "copy the gallery to a file while the service runs"),
    "restore": Entry("restore", "server", "restore the gallery from a backup"),
    "master-key": Entry("master_key", "server", "make a master key, or change to another"),
    "redis-users": Entry("redis_users", "server", "make Redis users with no more access than they need"),
    "dead-letters": Entry("dead_letters", "server", "list, replay or delete photos that workers were lost on"),
    "calibrate": Entry("calibrate", "model", "measure thresholds on photos of your own"),
}
SETTINGS_AS_OPTIONS = ("host", "port", "metrics_port", "device", "dtype", "weights", "proposals", "url")
"""Settings that commands take as options too."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed with a line on standard error, 2 bad arguments or settings.

    `compare`, `verify` and `identify` exit with 1 for 'not matched' and with 2 for every error.
    """
    argv = sys.argv[1:] if argv is None else argv
    # NumPy's own threads would wait for those that search and rotate side by side: on a busy machine a rotation takes
    # 0.03 s so and 2 to 3 s with them. It is read when NumPy is imported, which no command has done yet.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        arguments = _parser(argv).parse_args(argv)
        status = _run(arguments)
        sys.stdout.flush()
    except CommandError as error:
        complain(str(error))
        status = 1
    except ModuleNotFoundError as error:
        complain(_explain_missing(error, argv))
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # whoever read the output has left, e.g. `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _run(arguments: argparse.Namespace) -> int:
    """Return the exit status of the chosen command. Raises CommandError, unless the command has a status for it."""
    options = {name: getattr(arguments, name, None) for name in SETTINGS_AS_OPTIONS}
    try:
        settings = Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        complain(explain(error))
        return 2
    try:
        return int(arguments.command(settings, arguments))
    except CommandError as error:
        if "error_status" not in arguments:
            raise
        complain(str(error))
        return int(arguments.error_status)


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of the command in `argv`. Raises ModuleNotFoundError."""
    parser = argparse.ArgumentParser(
        "allinone-face",
        description="Faces in photos: analyze them here, serve them to others, or ask a server.",
        epilog="Settings are environment variables FACE_…. `allinone-face COMMAND --help` shows options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"allinone-face {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, entry in COMMANDS.items():
        description = f"{entry.help[0].upper()}{entry.help[1:]}."
        command = commands.add_parser(name, help=entry.help, description=description)
        if name == _chosen(argv):
            importlib.import_module(f"service.commands.{entry.module}").add(command)
    return parser


def _chosen(argv: Sequence[str]) -> str | None:
    """Return the first word that is not an option: the name of the command."""
    return next((argument for argument in argv if not argument.startswith("-")), None)


def _explain_missing(error: ModuleNotFoundError, argv: Sequence[str]) -> str:
    """Return a message that names the extra to install. Raises the error again when a module of our own is missing."""
    package = (error.name or "").partition(".")[0]
    entry = COMMANDS.get(_chosen(argv) or "")
    if entry is None or not entry.extra or package in ("service", "model", ""):
        raise error
    return f"this command needs the package {package}: pip install 'allinone-face[{entry.extra}]'"


def _version() -> str:
    try:
        return version("allinone-face")
    except PackageNotFoundError:  # run from a checkout
        return "(not installed)"


if __name__ == "__main__":
    main()
