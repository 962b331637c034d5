"""One file of a gallery in several processes: a server that runs for weeks, and commands that come and go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.config import Settings
from service.gallery.resources import Resources, open_keys
from service.gallery.stores.sqlite import SqliteStore

LEAVER = """
import json, sys
from pathlib import Path
from service.gallery.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print(json.dumps(sorted(store.records(""))))
store.put_record(sys.argv[2], b"")
store.close()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "gallery.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(path)
    yield opened
    opened.close()


def another_process(path: Path, writes: str) -> list[str]:
    """Open the gallery in a process that ends; return what it found there."""
    done = subprocess.run([sys.executable, "-c", LEAVER, path, writes], capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_nothing_is_lost_when_the_file_is_opened_twice_and_another_process_leaves(path: Path, store: SqliteStore):
    """A server looks by a store of its own whether there are keys. What it wrote from the next command on was seen by
    no other process, and gone with the server."""
    store.put_record("before", b"")
    SqliteStore(path).close()
    assert another_process(path, "first command") == ["before"]
    assert path.with_name("gallery.db-wal").exists(), "the log is not the leaver's to delete"
    store.put_record("after", b"")
    assert another_process(path, "second command") == ["after", "before", "first command"]
    assert sorted(store.records("")) == ["after", "before", "first command", "second command"]


def test_keys_that_a_server_and_commands_make_are_known_to_both(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    with open_keys(settings) as keys:
        keys.create("first", ["admin"])
    server = Resources(settings)
    server.check_start()
    with open_keys(settings) as keys:
        assert keys.keys()
    another_process(tmp_path / "gallery.db", "command")
    made, token = server.keys.create("by the server", ["verify"])
    command = subprocess.run(
        [sys.executable, "-m", "service", "keys", "list"],
        capture_output=True, text=True, check=True, env={"FACE_DATA_DIR": str(tmp_path), "PATH": ""},
    )  # fmt: skip
    assert made.id in command.stdout
    assert server.keys.authenticate(token) == made
    server.close()


def test_a_new_file_is_its_owners_only(path: Path, store: SqliteStore):
    store.put_record("a", b"")
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [file.name for file in path.parent.iterdir() if file.name.startswith(".")]
