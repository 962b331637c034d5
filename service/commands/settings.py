"""`allinone-face settings`: every setting with its default and what it means; `--markdown` writes docs/settings.md."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from service.commands import show_examples
from service.config import Settings
from service.environment import PREFIX

SECTIONS = {
    "host": "Where it listens, what it keeps, what it tells",
    "api_keys": "Who may call it, and what it may call",
    "head_timeout": "Limits of requests",
    "min_quality": "Identity",
    "weights": "The model and its device",
    "queue_size": "The queue and asynchronous jobs",
    "url": "The client's commands",
}
"""Headings, each before the setting with which its section begins."""
HEAD = """# Settings

Every setting is an environment variable `FACE_…`. Sizes take units (`32MiB`); durations are seconds; lists are
separated by commas. A variable `FACE_…` that is no setting stops the start with the name that was probably meant. Some
commands take some settings as options too (`allinone-face COMMAND --help`); an option wins.

This page is generated: `allinone-face settings --markdown > docs/settings.md`.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options of `settings`."""
    parser.add_argument("--markdown", action="store_true", help="write the whole page docs/settings.md")
    parser.set_defaults(command=show)
    show_examples(parser, "allinone-face settings | less", "allinone-face settings --markdown > docs/settings.md")


def show(_: Settings, arguments: argparse.Namespace) -> int:
    """Write the settings to standard output."""
    sys.stdout.write(markdown() if arguments.markdown else plain())
    return 0


def markdown() -> str:
    """Return the page docs/settings.md as Markdown."""
    parts = [HEAD]
    for name, field in Settings.model_fields.items():
        if name in SECTIONS:
            parts.append(f"\n## {SECTIONS[name]}\n\n| variable | default | meaning |\n| --- | --- | --- |\n")
        default = _default(field)
        parts.append(f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else '–'} | {field.description} |\n")
    return "".join(parts)


def plain() -> str:
    """Return a paragraph for each setting."""
    return "".join(
        f"{PREFIX}{name.upper()}={_default(field)}\n    {field.description}\n"
        for name, field in Settings.model_fields.items()
    )


def _default(field: FieldInfo) -> str:
    """Return a default as it would be written into the environment."""
    value = field.default
    if value is None or isinstance(value, SecretStr) or value == ():
        return ""
    if isinstance(value, ByteSize):
        return value.human_readable(separator="").removesuffix(".0").replace(".0", "")
    return value.as_posix() if isinstance(value, Path) else f"{value:g}" if isinstance(value, float) else str(value)
