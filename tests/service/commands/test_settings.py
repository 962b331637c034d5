"""`allinone-face settings`, and the page that it writes."""

import subprocess
import sys
from pathlib import Path
from typing import Literal, get_args, get_origin

from service.commands.settings import markdown
from service.config import Settings

ROOT = Path(__file__).parents[3]


def test_the_page_of_settings_is_the_one_generated() -> None:
    text = (ROOT / "docs" / "settings.md").read_text()
    assert text == markdown(), "run: allinone-face settings --markdown > docs/settings.md"


def test_every_setting_is_described_in_a_phrase() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert len(field.description.split()) >= 3, name


def test_the_command_lists_every_setting() -> None:
    command = [sys.executable, "-m", "service", "settings"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert all(f"FACE_{name.upper()}=" in text for name in Settings.model_fields)


def test_every_word_that_a_setting_takes_stands_in_its_description() -> None:
    for name, field in Settings.model_fields.items():
        if get_origin(field.annotation) is Literal:
            for word in get_args(field.annotation):
                assert f"`{word}`" in str(field.description), (name, word)
