"""What the commands with a model share: its options, and loading it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from service.commands import CommandError
from service.config import Settings

if TYPE_CHECKING:
    from model.runtime.pipeline import Analyzer


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --device, --dtype, --weights and --proposals."""
    parser.add_argument("--device", help="cpu, cuda or cuda:N (cpu)")
    parser.add_argument("--dtype", help="float32, bfloat16 or float16 (float32)")
    parser.add_argument("--weights", metavar="FILE", help="another checkpoint than the one that ships")
    parser.add_argument("--proposals", help="dense or selective-search (dense)")


def load(settings: Settings) -> Analyzer:
    """Load the model that the settings name. Raises CommandError with what is missing."""
    from service.worker.results import load_analyzer

    try:
        return load_analyzer(settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"the model cannot be loaded: {error}") from error
