"""`allinone-face verify`: is this the person?"""

from __future__ import annotations

import argparse

from service.commands import show_examples
from service.commands.photos import photo_argument, read_photos
from service.commands.remote import add_face_option, add_server_options, open_client, show
from service.commands.verdict import MATCHED, NOT_MATCHED, add_far, describe, explain_status
from service.config import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `verify`."""
    parser.set_defaults(command=verify)
    parser.add_argument("collection", metavar="COLLECTION", help="the collection that the person is in")
    parser.add_argument("subject", metavar="PERSON", help="who it should be")
    parser.add_argument("photo", type=photo_argument, metavar="PHOTO", help="a photo; - is standard input")
    add_far(parser)
    add_face_option(parser)
    add_server_options(parser)
    show_examples(
        parser,
        "allinone-face verify staff ada door.jpg",
        "allinone-face verify staff ada door.jpg && ./open-the-door",
    )
    explain_status(parser)


def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare a photo with a person; return MATCHED or NOT_MATCHED."""
    [photo] = read_photos([arguments.photo])
    with open_client(settings, arguments.photo) as client:
        answer = client.verify(arguments.collection, arguments.subject, photo, face=arguments.face, far=arguments.far)
    show(arguments, answer, lambda: describe(answer))
    return MATCHED if answer.matched else NOT_MATCHED
