"""`allinone-face people list|show|delete`: the people of a collection."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime

from service.commands import add_action, add_actions
from service.commands.remote import add_server_options, open_client, show
from service.config import Settings
from service.schemas.subjects import SubjectResponse


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `people`."""
    actions = add_actions(parser)
    text = "list the people of a collection with their numbers of photos"
    action = add_action(actions, "list", list_people, text, "allinone-face people list staff")
    _add_arguments(action, person=False)
    text = "show a person with their photos and metadata"
    action = add_action(actions, "show", show_person, text, "allinone-face people show staff ada --json")
    _add_arguments(action, person=True)
    text = "delete a person with all their photos and templates"
    action = add_action(actions, "delete", delete_person, text, "allinone-face people delete staff ada")
    _add_arguments(action, person=True)


def _add_arguments(parser: argparse.ArgumentParser, *, person: bool) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="the collection, see `allinone-face collections list`")
    if person:
        parser.add_argument("subject", metavar="PERSON", help="the person, as in `allinone-face people list`")
    add_server_options(parser)


def list_people(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a line for each person."""
    with open_client(settings) as client:
        for subject in client.subjects(arguments.collection):
            line = json.dumps(subject.model_dump(mode="json")) if arguments.json else _summary(subject)
            sys.stdout.write(line + "\n")
    return 0


def show_person(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show one person and their media."""
    with open_client(settings) as client:
        answer = client.subject(arguments.collection, arguments.subject)
    show(arguments, answer, lambda: _details(answer))
    return 0


def delete_person(settings: Settings, arguments: argparse.Namespace) -> int:
    """Delete one person and show the receipt."""
    with open_client(settings) as client:
        answer = client.delete_subject(arguments.collection, arguments.subject)
    show(arguments, answer, lambda: f"deleted with {_photos(answer.media or 0)}; receipt {answer.receipt}")
    return 0


def _summary(subject: SubjectResponse) -> str:
    return f"{_photos(len(subject.media)):>11}  {_day(subject.updated)}  {subject.id}"


def _details(subject: SubjectResponse) -> str:
    lines = [f"{subject.id}: {_photos(len(subject.media))}, enrolled on {_day(subject.created)}"]
    if subject.expires is not None:
        lines.append(f"is deleted on {_day(subject.expires)} unless something changes before")
    if subject.metadata:
        lines.append(f"metadata {json.dumps(subject.metadata, ensure_ascii=False)}")
    outliers = {outlier.medium for outlier in subject.outliers or []}
    for medium in subject.media:
        note = ", does not fit the others" if medium.id in outliers else ""
        if not medium.used:
            note = ", not used: too unlike the others"
        lines.append(f"{medium.id}  {_day(medium.added)}  quality {medium.quality:.2f}{note}")
    return "\n".join(lines)


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count} photos"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
