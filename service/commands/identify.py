"""`allinone-face identify`: who is this?"""

from __future__ import annotations

import argparse

from service.commands import show_examples
from service.commands.photos import photo_argument, read_photos
from service.commands.remote import add_face_option, add_server_options, open_client, show
from service.commands.verdict import MATCHED, NOT_MATCHED, explain_status
from service.config import Settings
from service.schemas.search import GroupSearchResponse, SearchResponse

CANDIDATES = 5


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `identify`."""
    parser.set_defaults(command=identify)
    parser.add_argument("collection", metavar="COLLECTION", help="the collection to search")
    parser.add_argument("photo", type=photo_argument, metavar="PHOTO", help="a photo; - is standard input")
    parser.add_argument(
        "--limit", type=int, default=CANDIDATES, help=f"the largest number of candidates shown ({CANDIDATES})"
    )
    parser.add_argument(
        "--fpir", type=float, help="share of strangers who may match somebody (the server's own, FACE_FPIR)"
    )
    add_face_option(parser)
    parser.add_argument("--all", action="store_true", help="search every face of the photo, the largest first")
    add_server_options(parser)
    show_examples(
        parser,
        "allinone-face identify staff who.jpg",
        "allinone-face identify staff group.jpg --all",
        "curl -s http://camera/still.jpg | allinone-face identify staff - --limit 1 --json",
    )
    explain_status(parser)


def identify(settings: Settings, arguments: argparse.Namespace) -> int:
    """Search a collection for a face; return MATCHED if somebody matches, else NOT_MATCHED."""
    [photo] = read_photos([arguments.photo])
    if arguments.all:
        return _identify_all(settings, arguments, photo)
    with open_client(settings, arguments.photo) as client:
        answer = client.search(
            arguments.collection, photo, limit=arguments.limit, face=arguments.face, fpir=arguments.fpir
        )
    show(arguments, answer, lambda: _describe(answer))
    return MATCHED if any(match.matched for match in answer.matches) else NOT_MATCHED


def _identify_all(settings: Settings, arguments: argparse.Namespace, photo: bytes) -> int:
    """Search a collection for every face of a photo and return whether somebody matches."""
    with open_client(settings, arguments.photo) as client:
        answer = client.search_all(arguments.collection, photo, limit=arguments.limit, fpir=arguments.fpir)
    show(arguments, answer, lambda: _describe_all(answer))
    return MATCHED if any(face.matched for face in answer.faces) else NOT_MATCHED


def _describe_all(answer: GroupSearchResponse) -> str:
    lines = [f"{len(answer.faces)} faces, {answer.gallery_size} subjects"]
    for number, face in enumerate(answer.faces, start=1):
        best = next((match for match in face.matches if match.matched), None)
        name = "nobody" if best is None else f"{best.subject}  {best.similarity:.3f}"
        place = f"at {face.box.x:.0f},{face.box.y:.0f}, {face.box.width:.0f} × {face.box.height:.0f} pixels"
        lines.append(f"face {number} {place}: {name}")
    return "\n".join(lines)


def _describe(answer: SearchResponse) -> str:
    lines = [f"threshold {answer.threshold:.3f} for {answer.gallery_size} subjects"]
    lines += [f"{'match' if m.matched else '     '}  {m.similarity:6.3f}  {m.subject}" for m in answer.matches]
    return "\n".join(lines)
