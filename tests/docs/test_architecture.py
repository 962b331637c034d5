"""What docs/architecture.md says about where things are."""

import re

import pytest

from tests.docs.pages import PAGES, ROOT

ROWS = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", PAGES["architecture.md"].split("## Where is", 1)[1], re.MULTILINE)
ROWS = [row for row in ROWS if "`" in row[1]]


@pytest.mark.parametrize(("subject", "places"), ROWS)
def test_each_place_of_the_table_exists_and_holds_the_named_symbol(subject: str, places: str):
    paths = [name for name in re.findall(r"`([^`]+)`", places) if "/" in name]
    for path in paths:
        assert (ROOT / path).exists(), (subject, path)
    for symbol in re.findall(r"`([A-Z_]+)`", places):
        if not symbol.startswith("FACE_"):
            assert symbol in (ROOT / paths[0]).read_text(), (subject, symbol)
