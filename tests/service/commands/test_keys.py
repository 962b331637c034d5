"""keys: made, listed, rotated and revoked in the store itself."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.service.commands.running import command


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    words = ("keys", "create", "front door", "--role", "verify", "--role", "analyze", "--rate", "5")
    made = command(*words, folder=tmp_path)
    assert made.stdout.startswith("face_")
    identity, secret = made.stdout.strip().split("_", 2)[1:]
    listed = command("keys", "list", folder=tmp_path).stdout
    assert identity in listed
    assert "analyze,verify  5/s, 20 at once  all collections  never used  front door" in listed
    assert secret not in listed
    assert command("keys", "revoke", identity, folder=tmp_path).returncode == 0
    assert command("keys", "list", folder=tmp_path).stdout == ""
    absent = command("keys", "revoke", identity, folder=tmp_path)
    assert absent.returncode == 1
    assert f"there is no key {identity}" in absent.stderr


def test_a_key_of_collections_that_ends(tmp_path: Path) -> None:
    words = ("--role", "enrol", "--collection", "staff", "--collection", "guests-*", "--expires-in", "30")
    before = datetime.now(UTC)
    assert command("keys", "create", "desk", *words, folder=tmp_path).returncode == 0
    after = datetime.now(UTC)
    listed = command("keys", "list", folder=tmp_path).stdout
    days = {(moment + timedelta(days=30)).date().isoformat() for moment in (before, after)}  # two of them at midnight
    assert any(f"enrol  no limit  staff, guests-*  until {day}, never used  desk" in listed for day in days)


def test_a_rotated_key_has_another_secret(tmp_path: Path) -> None:
    first = command("keys", "create", "door", "--role", "verify", folder=tmp_path).stdout.strip()
    identity = first.split("_")[1]
    second = command("keys", "rotate", identity, "--grace", "60", folder=tmp_path)
    assert second.returncode == 0
    assert second.stdout.startswith(f"face_{identity}_")
    assert second.stdout.strip() != first
    assert command("keys", "rotate", "0" * 12, folder=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "words", [("",), ("door", "--rate", "0"), ("door", "--burst", "0"), ("door", "--expires-in", "-1")]
)
def test_values_that_no_key_can_have(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = command("keys", "create", *words, "--role", "verify", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
