"""The commands in the documents: those that no other test runs name modules, recipes and options that there are."""

import argparse
import importlib
import re
from collections.abc import Iterator

import pytest

from service.__main__ import COMMANDS
from tests.docs.pages import PAGES, ROOT

TEXT = "\n".join(text for name, text in PAGES.items() if name != "log.md")  # which tells of commands that were
TRAINING = re.findall(r"python -m (model[\w.]*)([^\n`]*)", TEXT)
OURS = re.findall(r"(?<!-n )\ballinone-face ([a-z][a-z-]*)((?: [^\n`|)>;&]*)?)", TEXT)


@pytest.mark.parametrize("module", sorted({module for module, _ in TRAINING}))
def test_commands_of_the_model_have_the_options_and_recipes_that_are_named(module: str):
    path = ROOT / module.replace(".", "/")
    assert (path / "__main__.py").exists() or path.with_suffix(".py").exists()
    folder = path if path.is_dir() else path.parent
    source = "".join(file.read_text() for file in folder.glob("*.py"))
    for other, words in TRAINING:
        if other == module:
            arguments = words.partition("#")[0]
            for option in re.findall(r" (--[a-z-]+)", arguments):
                either = f'"{option}"', f'"{option.replace("--no-", "--")}"'  # of a switch that can be turned off
                assert any(name in source for name in either), option
            for recipe in re.findall(r" (\S+\.json)", arguments):
                assert (ROOT / recipe).exists() or recipe.startswith("$"), recipe


def options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the options of a command and of its actions."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield name
                yield from options_of(each)


@pytest.mark.parametrize("command", sorted({command for command, _ in OURS}))
def test_our_commands_have_the_options_and_actions_that_are_named(command: str):
    assert command in COMMANDS
    parser = argparse.ArgumentParser()
    importlib.import_module(f"service.commands.{COMMANDS[command].module}").add(parser)
    options = set(options_of(parser))
    actions = {option for option in options if not option.startswith("-")}
    for name, arguments in OURS:
        if name == command:
            assert set(re.findall(r" (--[a-z-]+)", arguments)) <= options, arguments
            first = re.match(r" ([a-z][a-z-]*)\b", arguments)
            if actions and first:
                assert first[1] in actions, arguments
