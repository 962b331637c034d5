"""What the commands that talk to a server share: its address and key, photos as arguments, answers as text."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel

from service.client import Client, FaceError
from service.client.calls import FaceChoice
from service.client.client import URL
from service.commands import CommandError
from service.commands.photos import PhotoArgument
from service.config import Settings

ABOUT_PHOTOS = (413, 415, 422)
"""Statuses of answers that say what is wrong with a photo."""
NEXT_STEPS = {
    "unreachable": "start one with `allinone-face serve`, or name another with --url or FACE_URL",
    "timeout": "it may be busy; see its log and /readyz",
    "not_understood": "name the server with --url or FACE_URL",
    "unauthorized": "set FACE_KEY to a key that the server's administrator made with `allinone-face keys create`",
    "forbidden": "ask the server's administrator for a key with that role",
    "collection_not_found": "`allinone-face collections list` shows what there is, `collections create` makes one",
    "subject_not_found": "`allinone-face people list COLLECTION` shows who is there",
    "not_ready": "the server is starting, or has no worker; try again in some seconds",
}
"""What to do about an error, by its code."""


def add_server_options(parser: argparse.ArgumentParser, *, answers_json: bool = True) -> None:
    """Add --url, and --json where the answer can be printed as it comes."""
    parser.add_argument("--url", help=f"the server (FACE_URL, else {URL}); its API key is read from FACE_KEY")
    if answers_json:
        parser.add_argument("--json", action="store_true", help="print the server's answer as one line of JSON")


def add_face_option(parser: argparse.ArgumentParser) -> None:
    """Add the option --face, which chooses a face of a photo."""
    parser.add_argument(
        "--face",
        type=_face_choice,
        metavar="WHICH",
        help="which face of a photo: only, largest, or a number from 0 with the largest first (the default is only to "
        "enrol, largest to compare)",
    )


def _face_choice(text: str) -> FaceChoice:
    choices: dict[str, FaceChoice] = {"only": "only", "largest": "largest"}
    try:
        return choices[text] if text in choices else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError("a face is only, largest or a number from 0") from None


@contextmanager
def open_client(settings: Settings, photo: PhotoArgument | None = None) -> Iterator[Client]:
    """Open a client of the server that the settings name. Its errors become CommandErrors with the next step.

    `photo` is the one photo that is sent: errors about photos name it.
    """
    key = settings.key.get_secret_value() if settings.key else None
    try:
        with Client(settings.url, key) as client:
            yield client
    except FaceError as error:
        if photo and error.status in ABOUT_PHOTOS:
            raise CommandError(f"{photo.name}: {error}") from error
        raise CommandError(explain_refusal(error, settings.url)) from error


def explain_refusal(error: FaceError, url: str) -> str:
    """Return an error of the client in words: where it happened, what happened, and what to do next."""
    where = f"the server at {url}: " if error.status and error.status not in ABOUT_PHOTOS else ""
    step = NEXT_STEPS.get(error.code)
    return f"{where}{error}" + (f"; {step}" if step else "")


def show(arguments: argparse.Namespace, answer: BaseModel, text: Callable[[], str]) -> None:
    """Write an answer to standard output, as JSON where --json asks for it, else in words."""
    line = json.dumps(answer.model_dump(mode="json")) if arguments.json else text()
    sys.stdout.write(line + "\n")
