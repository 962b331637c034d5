"""`allinone-face analyze`: photos to JSON lines."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ValidationError

from service.commands import CommandError, Commands, complain, model
from service.config import Settings
from service.schemas import Options


def add(commands: Commands) -> None:
    """The parser of `analyze`."""
    parser = commands.add_parser("analyze", help="analyse photos and write JSON lines")
    parser.set_defaults(command=analyze)
    parser.add_argument("photos", nargs="+", metavar="PHOTO", type=Path, help="a photo, or a folder of photos")
    parser.add_argument("--json", metavar="FILE", type=Path, help="where the lines go (standard output)")
    parser.add_argument("--draw", metavar="DIR", type=Path, help="also write copies with the faces drawn into DIR")
    parser.add_argument("--descriptor", action="store_true", help="with the 512-d descriptor of each face")
    parser.add_argument("--max-faces", type=int, help="the largest so many faces of a photo (100)")
    parser.add_argument("--min-size", type=float, help="shorter side of the smallest face, pixels (24)")
    parser.add_argument("--min-score", type=float, help="lowest detection score (the model's own)")
    model.add_options(parser)


def analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    """Analyse each photo; 1 when one of them failed."""
    names = ("max_faces", "min_size", "min_score", "descriptor")
    chosen = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    try:
        options = Options(**chosen)
    except ValidationError as error:
        raise CommandError("; ".join(f"--{item['loc'][0]}: {item['msg']}" for item in error.errors())) from error
    analyzer = model.load(settings)
    from service import offline

    photos = offline.expand(arguments.photos)
    if not photos:
        raise CommandError("no photo in these folders")
    try:
        failures = offline.analyze(photos, analyzer, settings, options, arguments.json, arguments.draw, complain)
    except OSError as error:
        raise CommandError(f"cannot write: {error}") from error
    return 1 if failures else 0
