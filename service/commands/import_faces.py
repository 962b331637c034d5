"""`allinone-face import compreface|folder|rekognition`: move people here from elsewhere.

Each photo is a medium with the id that it had there, so that a second run sends only what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from service.commands import CommandError, add_action, add_actions, complain
from service.commands.bulk import Item, enrol_all
from service.commands.bulk_enrol import add_options, bulk_enrol
from service.commands.remote import open_client
from service.config import Settings

PAGE = 1000
"""Faces that CompreFace lists in one answer."""
SECONDS = 60.0
NO_PHOTOS = (
    "Amazon Rekognition hands out neither photos nor templates, only external ids: they are listed here. "
    "Enrol the photos that they stand for with `allinone-face import folder`"
)


class CompreFaceImage(BaseModel):
    """A photo as CompreFace lists it."""

    image_id: str
    subject: str


class CompreFacePage(BaseModel):
    """A part of CompreFace's list."""

    faces: list[CompreFaceImage]
    total_pages: int


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `import`."""
    actions = add_actions(parser)
    action = add_action(
        actions,
        "compreface",
        import_compreface,
        "enrol every subject and photo of a CompreFace recognition service",
        "allinone-face import compreface http://compreface:8000 00000000-0000-0000-0000-000000000002 staff --create",
        "exit status: 1 when a photo could not be moved; run again, it goes on where it stopped",
    )
    action.add_argument("source", metavar="URL", help="CompreFace's address")
    action.add_argument("api_key", metavar="KEY", help="the API key of its recognition service")
    action.add_argument("collection", metavar="COLLECTION", help="the collection here")
    add_options(action)
    text = "enrol a folder with a folder of photos for each person, as `bulk-enrol` does"
    action = add_action(actions, "folder", bulk_enrol, text, "allinone-face import folder people/ staff --create")
    action.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with a folder of photos for each person")
    action.add_argument("collection", metavar="COLLECTION", help="the collection here")
    add_options(action)
    text = "list the external ids of a collection of Amazon Rekognition, which hands out no photos"
    action = add_action(actions, "rekognition", list_rekognition, text, "allinone-face import rekognition staff")
    action.add_argument("collection", metavar="COLLECTION", help="the collection there; boto3 finds the account")
    action.add_argument("--endpoint-url", metavar="URL", help="another address than Amazon's")


def import_compreface(settings: Settings, arguments: argparse.Namespace) -> int:
    """Enrol what CompreFace holds; return 1 when a photo could not be moved."""
    headers = {"x-api-key": arguments.api_key}
    address = f"{arguments.source.rstrip('/')}/api/v1/recognition/"
    with httpx.Client(base_url=address, headers=headers, timeout=SECONDS, follow_redirects=True) as source:
        try:
            images = list(_images(source))
        except httpx.HTTPStatusError as error:
            problem = (
                f"{arguments.source} answered {error.response.status_code}: is the key one of a recognition service?"
            )
            raise CommandError(problem) from error
        except httpx.HTTPError as error:
            raise CommandError(f"{arguments.source} cannot be reached ({type(error).__name__})") from error
        except ValidationError as error:
            raise CommandError(f"{arguments.source} does not answer as CompreFace 1.2 does") from error
        items = [
            Item(
                image.subject,
                f"{image.subject}, image {image.image_id}",
                partial(_photo, source, image),
                image.image_id,
            )
            for image in images
        ]
        with open_client(settings) as client:
            if arguments.create:
                client.put_collection(arguments.collection)
            outcome = enrol_all(client, arguments.collection, items, arguments.face)
    people = len({image.subject for image in images})
    sys.stdout.write(f"{outcome.enrolled} of {len(items)} photos of {people} people are enrolled\n")
    return 1 if outcome.refused else 0


def _images(source: httpx.Client) -> Iterator[CompreFaceImage]:
    """Yield all photos that CompreFace lists. Raises httpx.HTTPError, ValidationError."""
    number = 0
    while True:
        answer = source.get("faces", params={"page": number, "size": PAGE}).raise_for_status()
        page = CompreFacePage.model_validate_json(answer.content)
        yield from page.faces
        number += 1
        if number >= page.total_pages:
            return


def _photo(source: httpx.Client, image: CompreFaceImage) -> bytes:
    """Return the bytes of a photo that CompreFace lists. Raises httpx.HTTPError."""
    answer = source.get(f"faces/{quote(image.image_id, safe='')}/img")
    if not answer.is_success:
        raise httpx.HTTPError(f"CompreFace answered {answer.status_code}")
    return answer.content


def list_rekognition(_: Settings, arguments: argparse.Namespace) -> int:
    """Write the external ids of a collection; Rekognition returns nothing else that could be moved."""
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        raise CommandError("listing a collection of Amazon Rekognition needs boto3: pip install boto3") from error
    client = boto3.client("rekognition", endpoint_url=arguments.endpoint_url)
    names: set[str] = set()
    try:
        for page in client.get_paginator("list_faces").paginate(CollectionId=arguments.collection):
            names |= {face["ExternalImageId"] for face in page["Faces"] if "ExternalImageId" in face}
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"Amazon Rekognition: {error}") from error
    complain(NO_PHOTOS)
    sys.stdout.write("".join(f"{name}\n" for name in sorted(names)))
    return 0
