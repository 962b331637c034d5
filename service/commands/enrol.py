"""`allinone-face enrol`: add photos of a person to a collection."""

from __future__ import annotations

import argparse
from typing import get_args

from service.commands import complain, show_examples
from service.commands.photos import PhotoArgument, photo_argument, read_photos
from service.commands.remote import add_face_option, add_server_options, open_client, show
from service.config import Settings
from service.schemas.enrolment import EnrolResponse, NotEnrolled, OnConflict


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `enrol`."""
    parser.set_defaults(command=enrol)
    parser.add_argument("collection", metavar="COLLECTION", help="the collection that the person is added to")
    parser.add_argument("subject", metavar="PERSON", help="who it is; made when new")
    parser.add_argument("photos", nargs="+", type=photo_argument, metavar="PHOTO", help="photos; - is standard input")
    parser.add_argument("--create", action="store_true", help="make the collection when there is none")
    add_face_option(parser)
    parser.add_argument(
        "--on-conflict",
        choices=get_args(OnConflict),
        help="when a face matches somebody else of the collection: report it (the default), refuse the photos, or "
        "ignore it and do not look",
    )
    add_server_options(parser)
    show_examples(
        parser,
        "allinone-face enrol staff ada ada1.jpg ada2.jpg --create",
        "exit status: 1 when a photo could not be enrolled",
    )


def enrol(settings: Settings, arguments: argparse.Namespace) -> int:
    """Add photos to a person; return 1 when one of them was refused."""
    photos = read_photos(arguments.photos)
    single_photo = arguments.photos[0] if len(photos) == 1 else None
    with open_client(settings, single_photo) as client:
        if arguments.create:
            client.put_collection(arguments.collection)
        answer = client.enrol(
            arguments.collection,
            arguments.subject,
            photos,
            create=True,
            face=arguments.face,
            on_conflict=arguments.on_conflict,
        )
    refused = _complain_of_refused(answer, arguments.photos)
    for conflict in answer.conflicts or []:
        complain(f"the face also matches {conflict.subject} (similarity {conflict.similarity:.3f})")
    for outlier in answer.outliers or []:
        complain(f"photo {outlier.medium} does not fit the person's others (similarity {outlier.similarity:.3f})")
    added = f"{len(answer.photos) - refused} of {len(answer.photos)} photos enrolled"
    show(arguments, answer, lambda: f"{added}, {len(answer.subject.media)} in all")
    return 1 if refused else 0


def _complain_of_refused(answer: EnrolResponse, photos: list[PhotoArgument]) -> int:
    """Write a line for each photo that was refused, and return how many there are."""
    refused = 0
    for photo, entry in zip(photos, answer.photos, strict=True):
        if isinstance(entry, NotEnrolled):
            refused += 1
            complain(f"{photo.name}: {entry.error.detail} ({entry.error.code})")
    return refused
