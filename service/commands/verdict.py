"""What `compare`, `verify` and `identify` share: their exit status and the words for a comparison."""

from __future__ import annotations

import argparse

from service.schemas.comparisons import ComparisonResponse, VerifyResponse

MATCHED = 0
NOT_MATCHED = 1
FAILED = 2
STATUS_HELP = "exit status: 0 matched, 1 not matched, 2 error"


def add_far(parser: argparse.ArgumentParser) -> None:
    """Add the option --far, the false accept rate of a match."""
    parser.add_argument("--far", type=float, help="false accept rate of a match (the server's own, FACE_FAR)")


def explain_status(parser: argparse.ArgumentParser) -> None:
    """Say in the help what the exit status means, and end with 2 for every error."""
    parser.set_defaults(error_status=FAILED)
    parser.epilog = f"{STATUS_HELP}\n\n{parser.epilog or ''}".rstrip()


def describe(answer: ComparisonResponse | VerifyResponse) -> str:
    """Return a comparison in words, without scores where the API withholds them from a key that may only verify."""
    verdict = "one person" if answer.matched else "not matched"
    threshold = f"threshold {answer.threshold:.3f} (FAR {answer.far:g})"
    if answer.similarity is None or answer.probability is None:
        return f"{verdict}: {threshold}"
    return f"{verdict}: similarity {answer.similarity:.3f}, {threshold}, {100 * answer.probability:.1f} %"
