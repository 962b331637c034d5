"""`allinone-face calibrate`: thresholds measured on photos of your own."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.tools import calibrate as calibration_tool
from service.commands import CommandError, show_examples
from service.commands.photos import check_output
from service.config import Settings


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `calibrate`."""
    parser.set_defaults(command=calibrate)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder with a folder of photos for each person")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON for FACE_CALIBRATION")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists and is not an image")
    parser.add_argument("--weights", metavar="FILE", help="another checkpoint than the one that ships")
    parser.add_argument("--device", help="cpu, cuda or cuda:N (cpu)")
    show_examples(
        parser,
        "allinone-face calibrate people/ --out own.json",
        "FACE_CALIBRATION=own.json allinone-face serve",
    )


def calibrate(settings: Settings, arguments: argparse.Namespace) -> int:
    """Measure thresholds on the photos of a folder and write them to a file."""
    if not arguments.folder.is_dir():
        raise CommandError(f"{arguments.folder} is not a folder")
    check_output(arguments.out, arguments.force)
    argv = ["--photos", str(arguments.folder), "--json", str(arguments.out), "--device", settings.device]
    if settings.weights:
        argv += ["--weights", str(settings.weights)]
    return calibration_tool.main(argv)
