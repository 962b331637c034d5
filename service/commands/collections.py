"""`allinone-face collections list|create|show|conflicts|delete`: the collections of a server, with their policies."""

from __future__ import annotations

import argparse
import functools
import json
import sys
from typing import get_args

from service.commands import add_action, add_actions
from service.commands.remote import add_server_options, open_client, show
from service.config import Settings
from service.schemas.collections import CollectionResponse
from service.schemas.conflicts import CollectionConflicts
from service.schemas.names import Mode


def add(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `collections`."""
    actions = add_actions(parser)
    text = "list all collections with their numbers of people"
    action = add_action(actions, "list", list_collections, text, "allinone-face collections list")
    add_server_options(action)
    text = "make a collection"
    action = add_action(
        actions,
        "create",
        create_collection,
        text,
        "allinone-face collections create staff",
        "allinone-face collections create visitors --keep-photos --ttl 2592000",
    )
    _add_name(action)
    action.add_argument("--mode", choices=get_args(Mode), help="how the photos of a person are pooled (media)")
    action.add_argument("--reject-below", type=float, help="leave out photos less similar to the person's others")
    action.add_argument("--keep-photos", action="store_true", help="keep the photos, encrypted")
    action.add_argument("--ttl", type=float, metavar="SECONDS", help="delete people this long after their last change")
    text = "show a collection, its people's number and its policy"
    _add_name(add_action(actions, "show", show_collection, text, "allinone-face collections show staff --json"))
    text = (
        "find people who are enrolled under two names, and photos that do not fit their person; exit status 1 for any"
    )
    _add_name(add_action(actions, "conflicts", list_conflicts, text, "allinone-face collections conflicts staff"))
    text = "delete a collection with all its people"
    _add_name(add_action(actions, "delete", delete_collection, text, "allinone-face collections delete visitors"))


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("collection", metavar="COLLECTION", help="the collection's name")
    add_server_options(parser)


def list_collections(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a line for each collection."""
    with open_client(settings) as client:
        for collection in client.collections():
            line = json.dumps(collection.model_dump(mode="json")) if arguments.json else _summary(collection)
            sys.stdout.write(line + "\n")
    return 0


def create_collection(settings: Settings, arguments: argparse.Namespace) -> int:
    """Make a collection with a policy."""
    with open_client(settings) as client:
        answer = client.put_collection(
            arguments.collection,
            mode=arguments.mode,
            reject_below=arguments.reject_below,
            keep_photos=arguments.keep_photos or None,
            ttl=arguments.ttl,
        )
    show(arguments, answer, lambda: _details(answer))
    return 0


def show_collection(settings: Settings, arguments: argparse.Namespace) -> int:
    """Show one collection with its policy and the number of its people."""
    with open_client(settings) as client:
        answer = client.collection(arguments.collection)
    show(arguments, answer, lambda: _details(answer))
    return 0


def list_conflicts(settings: Settings, arguments: argparse.Namespace) -> int:
    """Write a line for each conflict and each photo that does not fit, part by part; return 1 when there is one."""
    count = 0
    cursor = None
    with open_client(settings) as client:
        while True:
            page = client.conflicts(arguments.collection, cursor=cursor)
            count += len(page.conflicts) + len(page.outliers)
            if arguments.json or page.conflicts or page.outliers:
                show(arguments, page, functools.partial(_conflict_lines, page))
            cursor = page.cursor
            if cursor is None:
                return 1 if count else 0


def delete_collection(settings: Settings, arguments: argparse.Namespace) -> int:
    """Delete one collection and show the receipt."""
    with open_client(settings) as client:
        answer = client.delete_collection(arguments.collection)
    show(arguments, answer, lambda: f"deleted with {_people(answer.subjects)}; receipt {answer.receipt}")
    return 0


def _summary(collection: CollectionResponse) -> str:
    note = "" if collection.current else "  (of another model than the one that answers now: see re-enrol)"
    return f"{_people(collection.subjects):>12}  {collection.name}{note}"


def _conflict_lines(page: CollectionConflicts) -> str:
    lines = [f"{' and '.join(pair.subjects)}: similarity {pair.similarity:.3f}" for pair in page.conflicts]
    lines += [
        f"{outlier.subject}, photo {outlier.medium}: similarity {outlier.similarity:.3f}" for outlier in page.outliers
    ]
    return "\n".join(lines)


def _details(collection: CollectionResponse) -> str:
    policy = ", ".join(f"{name} {value}" for name, value in collection.policy.model_dump().items() if value)
    return f"{collection.name}: {_people(collection.subjects)}; {policy}; model {collection.model[:12]}"


def _people(count: int) -> str:
    return "1 person" if count == 1 else f"{count} people"
