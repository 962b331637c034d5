"""The environment variables of the settings: what their names begin with, misspelt names, errors by their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError

PREFIX = "FACE_"
OTHER_USES = ("FACE_TEST_", "FACE_SERVICE_", "FACE_SHARED_DIR", "FACE_CACHE_DIR")
"""Beginnings of variables that are no settings: those of the tests, of training, and what Kubernetes sets for a Service
named `face`."""


def unknown_variables(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """Return a sentence for each variable `FACE_…` that is no setting, with the name that was probably meant."""
    known_names = [PREFIX + name.upper() for name in settings]
    lines = []
    for name in sorted(names):
        if not name.upper().startswith(PREFIX) or name.upper() in known_names or name.startswith(OTHER_USES):
            continue
        bare = name.upper().removeprefix(PREFIX)  # all begin alike, which would count as likeness
        similar = difflib.get_close_matches(bare, [known.removeprefix(PREFIX) for known in known_names], 1)
        lines.append(
            f"{name} is no setting"
            + (f", did you mean {PREFIX}{similar[0]}?" if similar else "; docs/settings.md lists all")
        )
    return lines


def explain(error: ValidationError) -> str:
    """Return one line for each bad setting, with the name its user knows it by."""
    return "\n".join(
        (f"{PREFIX}{'_'.join(map(str, item['loc'])).upper()}: " if item["loc"] else "")
        + item["msg"].removeprefix("Value error, ")
        for item in error.errors()
    )
