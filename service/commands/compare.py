"""`allinone-face compare`: do two photos show one person?"""

from __future__ import annotations

import argparse

from service.commands import show_examples
from service.commands.photos import photo_argument, read_photos
from service.commands.remote import add_face_option, add_server_options, open_client, show
from service.commands.verdict import MATCHED, NOT_MATCHED, add_far, describe, explain_status
from service.config import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare`."""
    parser.set_defaults(command=compare)
    parser.add_argument("first", type=photo_argument, metavar="PHOTO", help="a photo; - is standard input")
    parser.add_argument("second", type=photo_argument, metavar="PHOTO", help="the other photo")
    add_far(parser)
    add_face_option(parser)
    add_server_options(parser)
    show_examples(
        parser,
        "allinone-face compare passport.jpg selfie.jpg",
        "allinone-face compare passport.jpg - --far 1e-4 --json < selfie.jpg",
    )
    explain_status(parser)


def compare(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare two photos; return MATCHED or NOT_MATCHED."""
    first, second = read_photos([arguments.first, arguments.second])
    with open_client(settings) as client:
        answer = client.compare(first, second, face=arguments.face, far=arguments.far)
    show(arguments, answer, lambda: describe(answer))
    return MATCHED if answer.matched else NOT_MATCHED
