"""docs/log.md names tests as FILE::TEST: they are there."""

import re

from tests.docs.pages import PAGES, ROOT


def test_every_test_that_is_named_is_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGES["log.md"]))
    assert len(named) > 40
    missing = [f"{file}::{name}" for file, name in named if f"def {name}(" not in (ROOT / file).read_text()]
    assert not missing
