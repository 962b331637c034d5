"""docs/security.md: every attack in its table has tests, and they are there."""

import re

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
ATTACKS = re.search(r"\| attack \| test \|\n\|[- |]+\n((?:\|.*\n)+)", PAGE)


def test_every_attack_names_test_files_that_are_there() -> None:
    assert ATTACKS
    rows = ATTACKS[1].splitlines()
    assert len(rows) > 25
    for row in rows:
        attack, tests = row.strip("| ").rsplit(" | ", 1)
        files = re.findall(r"`([^`]+)`", tests)
        assert files, attack
        for file in files:
            assert "def test_" in (ROOT / file).read_text(), file


def test_every_role_of_a_key_stands_in_the_threat_model() -> None:
    for role in ("analyze", "verify", "enrol", "admin", "templates"):
        assert f"`{role}`" in PAGE


def test_alerts_and_commands_that_are_named_are_there() -> None:
    rules = (ROOT / "deploy/components/monitoring/rules.yml").read_text()
    assert all(f"alert: {name}" in rules for name in re.findall(r"`(Face[A-Z]\w+)`", PAGE))
    assert all((ROOT / path).exists() for path in re.findall(r"`((?:docker|docs|service)/[\w./-]+)`", PAGE))
