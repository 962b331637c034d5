"""Identity from the command line: compare, enrol, verify, identify, bulk-enrol over a running server; keys; calibrate.

The server is FACE_URL, the key for it FACE_KEY. Keys are made and ended in the store itself, without a server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel
from tqdm import tqdm

from service import images
from service.client import Client, FaceError
from service.commands import CommandError, Commands, complain
from service.config import Settings
from service.errors import ServiceError
from service.gallery.opening import open_store
from service.identity_schemas import ComparisonAnswer, EnrolAnswer, NotEnrolled
from service.keys import ROLES, KeyRing

AT_ONCE = 4
"""Requests of a bulk enrolment that are under way."""


def add(commands: Commands) -> None:
    """The parsers."""
    found = _server(commands, "compare", compare, "do two photos show one person?")
    found.add_argument("first", type=Path)
    found.add_argument("second", type=Path)
    found.add_argument("--far", type=float, help="false accept rate (the server's)")
    found = _server(commands, "enrol", enrol, "add photos of a person to a collection")
    _names(found, "collection", "subject")
    found.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    found.add_argument("--create", action="store_true", help="make the collection when there is none")
    found = _server(commands, "verify", verify, "is this the person?")
    _names(found, "collection", "subject")
    found.add_argument("photo", type=Path)
    found.add_argument("--far", type=float, help="false accept rate (the server's)")
    found = _server(commands, "identify", identify, "who is this?")
    _names(found, "collection")
    found.add_argument("photo", type=Path)
    found.add_argument("--limit", type=int, default=5, help="most candidates (5)")
    found = _server(commands, "bulk-enrol", bulk_enrol, "add FOLDER/PERSON/PHOTO to a collection; again, it goes on")
    _names(found, "collection")
    found.add_argument("folder", type=Path, metavar="FOLDER")
    found.add_argument("--create", action="store_true", help="make the collection when there is none")
    _add_calibrate(commands)
    _add_keys(commands)


def _server(commands: Commands, name: str, command: Callable[..., int], help_: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_)
    parser.set_defaults(command=command)
    parser.add_argument("--url", help="the server (http://127.0.0.1:8000)")
    parser.add_argument("--json", action="store_true", help="print the server's answer")
    return parser


def _names(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        parser.add_argument(name)


def _add_calibrate(commands: Commands) -> None:
    parser = commands.add_parser("calibrate", help="thresholds from your own photos, FOLDER/PERSON/PHOTO")
    parser.set_defaults(command=calibrate)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON for FACE_CALIBRATION")
    parser.add_argument("--weights", metavar="FILE", help="another checkpoint than the one that ships")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (cpu)")


def _add_keys(commands: Commands) -> None:
    inner = commands.add_parser("keys", help="API keys: create, list, revoke").add_subparsers(
        required=True, metavar="ACTION"
    )
    parser = inner.add_parser("create", help="make a key; it is shown once")
    parser.set_defaults(command=create_key)
    parser.add_argument("label", help="what it is for")
    parser.add_argument("--role", action="append", required=True, choices=ROLES, help="may be given several times")
    parser.add_argument("--rate", type=float, help="requests a second on average (no limit)")
    parser.add_argument("--burst", type=int, default=20, help="requests at once (20)")
    inner.add_parser("list", help="all keys, without their secrets").set_defaults(command=list_keys)
    parser = inner.add_parser("revoke", help="end a key")
    parser.set_defaults(command=revoke_key)
    parser.add_argument("id")


# -- through a server -------------------------------------------------------------------------------------------------


@contextmanager
def _client(settings: Settings) -> Iterator[Client]:
    key = settings.key.get_secret_value() if settings.key else None
    try:
        with Client(settings.url, key) as client:
            yield client
    except FaceError as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(f"{error.filename or 'a file'}: {error.strerror or error}") from error


def compare(settings: Settings, arguments: argparse.Namespace) -> int:
    """Two photos."""
    asked = {} if arguments.far is None else {"far": arguments.far}
    with _client(settings) as client:
        answer = client.compare(arguments.first, arguments.second, **asked)
    return _tell(arguments, answer, _verdict(answer))


def enrol(settings: Settings, arguments: argparse.Namespace) -> int:
    """Photos to a subject; 1 when one of them was refused."""
    with _client(settings) as client:
        if arguments.create:
            client.put_collection(arguments.collection)
        answer = client.enrol(arguments.collection, arguments.subject, arguments.photos, create=True)
    refused = _complain(answer, arguments.photos)
    added = len(answer.photos) - refused
    _tell(arguments, answer, f"{added} of {len(answer.photos)} photos enrolled, {len(answer.subject.media)} in all")
    return 1 if refused else 0


def verify(settings: Settings, arguments: argparse.Namespace) -> int:
    """A photo against a subject."""
    asked = {} if arguments.far is None else {"far": arguments.far}
    with _client(settings) as client:
        answer = client.verify(arguments.collection, arguments.subject, arguments.photo, **asked)
    return _tell(arguments, answer, _verdict(answer))


def identify(settings: Settings, arguments: argparse.Namespace) -> int:
    """A photo against a collection."""
    with _client(settings) as client:
        answer = client.search(arguments.collection, arguments.photo, limit=arguments.limit)
    lines = [f"threshold {answer.threshold:.3f} for {answer.gallery_size} subjects"]
    lines += [f"{'match' if m.matched else '     '}  {m.similarity:6.3f}  {m.subject}" for m in answer.matches]
    return _tell(arguments, answer, "\n".join(lines))


def bulk_enrol(settings: Settings, arguments: argparse.Namespace) -> int:
    """A folder of people; 1 when a photo was refused. What is enrolled already is not sent again."""
    if not arguments.folder.is_dir():
        raise CommandError(f"{arguments.folder} is no folder")
    people = [folder for folder in sorted(arguments.folder.iterdir()) if folder.is_dir()]
    work = [(person.name, photo) for person in people for photo in _photos(person)]
    if not work:
        raise CommandError(f"no photos in {arguments.folder}: they lie in one folder for each person")
    with _client(settings) as client:
        if arguments.create:
            client.put_collection(arguments.collection)
        refused = _enrol_all(client, arguments.collection, work)
    sys.stdout.write(f"{len(work) - refused} of {len(work)} photos of {len(people)} people are enrolled\n")
    return 1 if refused else 0


def _enrol_all(client: Client, collection: str, work: list[tuple[str, Path]]) -> int:
    """How many photos were refused. Raises FaceError for what concerns them all."""
    there = {subject.id: {m.id for m in subject.media} for subject in client.subjects(collection)}
    refused = 0
    with ThreadPoolExecutor(AT_ONCE) as pool, tqdm(total=len(work), unit="photo", disable=None) as bar:
        try:
            problems = pool.map(lambda item: _enrol_one(client, collection, item, there.get(item[0], set())), work)
            for (_, photo), problem in zip(work, problems, strict=True):
                if problem:
                    refused += 1
                    with tqdm.external_write_mode(file=sys.stderr):
                        complain(f"{photo}: {problem}")
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return refused


def _enrol_one(client: Client, collection: str, item: tuple[str, Path], there: set[str]) -> str | None:
    """What is wrong with this photo."""
    name, photo = item
    data = photo.read_bytes()
    if hashlib.sha256(data).hexdigest()[:32] in there:
        return None
    try:
        client.enrol(collection, name, [data], create=True)
    except FaceError as error:
        if error.status not in (413, 415, 422):
            raise
        return str(error)
    return None


def _photos(person: Path) -> list[Path]:
    return [photo for photo in sorted(person.rglob("*")) if photo.suffix.lower() in images.SUFFIXES and photo.is_file()]


def _complain(answer: EnrolAnswer, photos: list[Path]) -> int:
    refused = 0
    for photo, entry in zip(photos, answer.photos, strict=True):
        if isinstance(entry, NotEnrolled):
            refused += 1
            complain(f"{photo}: {entry.error.detail} ({entry.error.code})")
    return refused


def _verdict(answer: ComparisonAnswer) -> str:
    words = "one person" if answer.matched else "not matched"
    share = f"{100 * answer.probability:.1f} %"
    return (
        f"{words}: similarity {answer.similarity:.3f}, threshold {answer.threshold:.3f} (FAR {answer.far:g}), {share}"
    )


def _tell(arguments: argparse.Namespace, answer: BaseModel, words: str) -> int:
    sys.stdout.write((json.dumps(answer.model_dump(mode="json")) if arguments.json else words) + "\n")
    return 0


# -- without a server -------------------------------------------------------------------------------------------------


def calibrate(settings: Settings, arguments: argparse.Namespace) -> int:
    """Own photos to thresholds."""
    try:
        from model import calibrate as calibration
    except ModuleNotFoundError as error:
        raise CommandError(f"the model needs {error.name}: install allinone-face[model]") from error
    words = ["--photos", str(arguments.folder), "--json", str(arguments.out), "--device", settings.device]
    return calibration.main(words + (["--weights", str(settings.weights)] if settings.weights else []))


@contextmanager
def _ring(settings: Settings) -> Iterator[KeyRing]:
    try:
        store = open_store(settings)
        try:
            yield KeyRing(store)
        finally:
            store.close()
    except ServiceError as error:
        raise CommandError(error.detail) from error


def create_key(settings: Settings, arguments: argparse.Namespace) -> int:
    """A new key on standard output."""
    with _ring(settings) as ring:
        try:
            key, words = ring.create(arguments.label, arguments.role, arguments.rate, arguments.burst)
        except ValueError as error:
            raise CommandError(str(error)) from error
    complain(f"key {key.id} with the roles {', '.join(sorted(key.roles))}; it is shown this once")
    sys.stdout.write(words + "\n")
    return 0


def list_keys(settings: Settings, _: argparse.Namespace) -> int:
    """A line a key."""
    with _ring(settings) as ring:
        for key in ring.keys():  # noqa: SIM118 - no mapping
            made = datetime.fromtimestamp(key.created, UTC).date().isoformat()
            rate = "no limit" if key.rate is None else f"{key.rate:g}/s, {key.burst} at once"
            sys.stdout.write(f"{key.id}  {made}  {','.join(sorted(key.roles))}  {rate}  {key.label}\n")
    return 0


def revoke_key(settings: Settings, arguments: argparse.Namespace) -> int:
    """Ends a key."""
    with _ring(settings) as ring:
        if not ring.revoke(arguments.id):
            raise CommandError("there is no such key")
    return 0
