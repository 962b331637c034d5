"""A disk that is really full: nothing is lost, and deleting is still possible."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = """
import os, sys
from pathlib import Path
import numpy as np
from service.crypto.vault import Vault
from service.gallery import NewMedium
from service.gallery.errors import StorageFull
from service.gallery.gallery import Gallery
from service.gallery.stores.sqlite import SqliteStore
folder = Path(sys.argv[1])
gallery = Gallery(SqliteStore(folder / "gallery.db"), Vault([b"m" * 32]))
gallery.put_collection("people", "m", 16)
medium = NewMedium("m", np.ones((200, 16), np.float32), np.ones(200, np.float32))
for number in range(20):
    gallery.add_media("people", f"p{number}", "m", [medium], create=True)
assert (folder / "gallery.db.reserve").stat().st_size > 0
with open(folder / "filler", "wb") as filler:
    try:
        while True:
            filler.write(bytes(65536))
            filler.flush()
    except OSError:
        pass
try:
    while True:
        gallery.add_media("people", f"q{os.urandom(4).hex()}", "m", [medium], create=True)
except StorageFull:
    pass
before = gallery.collection("people").subjects
for number in range(20):
    gallery.delete_subject("people", f"p{number}")
assert gallery.collection("people").subjects == before - 20
gallery.delete_collection("people")
(folder / "filler").unlink()
gallery.put_collection("again", "m", 16)
gallery.delete_collection("again")
assert (folder / "gallery.db.reserve").exists()
print("held")
"""


LARGE = """
import os, sqlite3, sys
from contextlib import closing
from pathlib import Path
import numpy as np
from service.crypto.vault import Vault
from service.gallery import NewMedium, Policy
from service.gallery.errors import StorageFull
from service.gallery.gallery import Gallery
from service.gallery.stores.sqlite import SqliteStore
folder = Path(sys.argv[1])
gallery = Gallery(SqliteStore(folder / "gallery.db"), Vault([b"m" * 32]))
gallery.put_collection("people", "m", 16, Policy(keep_photos=True))
vectors, quality = np.ones((1, 16), np.float32), np.ones(1, np.float32)
clear = {}
def enrol(name, medium, size):
    clear[name, medium] = os.urandom(size)
    gallery.add_media("people", name, "m", [NewMedium(medium, vectors, quality, clear[name, medium])], create=True)
enrol("ada", "a", 3 << 20)
enrol("eve", "e", 100_000)
enrol("ada", "b", 3 << 20)
enrol("bob", "b", 5 << 20)
with closing(sqlite3.connect(folder / "gallery.db")) as connection:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # its room would do for the log of the deletion
    sealed = [row[0] for row in connection.execute("SELECT photo FROM photos WHERE length(photo) > 1000000")]
assert len(sealed) == 3
with open(folder / "filler", "wb") as filler:
    try:
        while True:
            filler.write(bytes(65536))
            filler.flush()
    except OSError:
        pass
assert gallery.delete_subject("people", "ada").photos == 2
assert [subject.id for subject in gallery.subjects("people").items] in (["eve", "bob"], ["bob", "eve"])
gallery.delete_medium("people", "bob", "b")
assert gallery.subject("people", "bob").media == ()
assert gallery.photo("people", "eve", "e") == clear["eve", "e"]
assert (folder / "gallery.db").stat().st_size < 2 << 20, "what was freed is cut off"
left = (folder / "gallery.db").read_bytes() + (folder / "gallery.db-wal").read_bytes()
assert not any(photo[at : at + 64] in left for photo in sealed for at in range(0, len(photo) - 64, 2048))
print("held")
"""


def test_large_photos_are_deleted_on_a_full_disk(tmp_path: Path):
    """Photos that are larger than the reserve, which overwriting them would fill."""
    assert on_a_small_disk(tmp_path, LARGE, "32m") == "held\n"


def test_deleting_works_on_a_full_disk(tmp_path: Path):
    assert on_a_small_disk(tmp_path, CHILD, "24m") == "held\n"


def on_a_small_disk(tmp_path: Path, child: str, size: str) -> str:
    """Run a program in a file system of this size, in a mount namespace of its own; return what it says."""
    script = f'mount -t tmpfs -o size={size} tmpfs {tmp_path} && exec {sys.executable} -c "$CHILD" {tmp_path}'
    words = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]
    try:
        able = subprocess.run(
            [*words[:3], "mount", "-t", "tmpfs", "x", str(tmp_path)], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("no unshare")
    if able.returncode:
        pytest.skip("no mount namespaces here")
    root = Path(__file__).resolve().parents[3]
    env = os.environ | {"CHILD": child, "PYTHONPATH": str(root)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
