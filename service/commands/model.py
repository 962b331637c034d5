"""What the commands with a model share: their options, and loading it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from service.commands import CommandError
from service.config import Settings

if TYPE_CHECKING:
    from model.pipeline import Analyzer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Device, number format, checkpoint, proposals."""
    parser.add_argument("--device", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16 (float32)")
    parser.add_argument("--weights", metavar="FILE", help="another checkpoint than the one that ships")
    parser.add_argument("--proposals", help="dense or selective-search (dense)")


def load(settings: Settings) -> Analyzer:
    """The model, or a CommandError that says what is missing."""
    try:
        from service.analysis import load_analyzer
    except ModuleNotFoundError as error:
        raise CommandError(f"the model needs {error.name}: install allinone-face[model]") from error
    try:
        return load_analyzer(settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"the model cannot be loaded: {error}") from error
