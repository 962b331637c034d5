"""`allinone-face analyze`: photos to JSON lines, without a server."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ValidationError

from service.commands import CommandError, model, show_examples
from service.commands.photos import check_output, find_photos, photo_argument
from service.config import Settings
from service.schemas.faces import AnalyzeOptions
from service.wire import Options

OPTIONS = ("max_faces", "min_size", "min_score", "descriptor")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `analyze`."""
    defaults = Options()
    parser.set_defaults(command=analyze)
    parser.add_argument(
        "photos", nargs="+", metavar="PHOTO", type=photo_argument, help="photos and folders; - is standard input"
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the lines to FILE, which must not exist")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists and is not an image")
    parser.add_argument("--draw", metavar="DIR", type=Path, help="also write copies with the faces drawn into DIR")
    parser.add_argument("--descriptor", action="store_true", help="with the 512-d descriptor of each face")
    parser.add_argument("--max-faces", type=int, help=f"the largest so many faces of a photo ({defaults.max_faces})")
    smallest = "the model's own" if defaults.min_size is None else f"{defaults.min_size:g}"
    parser.add_argument("--min-size", type=float, help=f"shorter side of the smallest face, in pixels ({smallest})")
    parser.add_argument("--min-score", type=float, help="lowest detection score, 0 to 1 (the model's own)")
    model.add_options(parser)
    show_examples(
        parser,
        "allinone-face analyze holiday/ portrait.jpg --out faces.jsonl --draw drawn/",
        "curl -s http://camera/still.jpg | allinone-face analyze - | jq .faces[].age",
        "exit status: 1 when a photo could not be used; the others are analyzed all the same",
    )


def analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    """Analyze each photo; return 1 when one of them could not be used."""
    given_options = {name: getattr(arguments, name) for name in OPTIONS if getattr(arguments, name) is not None}
    try:
        options = Options(**AnalyzeOptions(**given_options).model_dump())
    except ValidationError as error:
        raise CommandError("; ".join(_explain(str(item["loc"][0]), item["msg"]) for item in error.errors())) from error
    from service.commands.analysis import Output, analyze_files

    try:
        scan = find_photos(arguments.photos)
        if arguments.out:
            check_output(arguments.out, arguments.force, scan.photos)
        analyzer = model.load(settings)
        output = Output(arguments.out, arguments.draw)
        failures = analyze_files(scan.photos, analyzer, settings, options, output)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CommandError(f"cannot write {error.filename or 'the output'}: {error.strerror or error}") from error
    return 1 if failures or scan.unreadable else 0


def _explain(option: str, message: str) -> str:
    return f"--{option.replace('_', '-')}: {message}"
