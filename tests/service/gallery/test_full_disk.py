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


def test_deleting_works_on_a_full_disk(tmp_path: Path):
    """In a file system of 24 MB, in a mount namespace of its own."""
    script = f'mount -t tmpfs -o size=24m tmpfs {tmp_path} && exec {sys.executable} -c "$CHILD" {tmp_path}'
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
    env = os.environ | {"CHILD": CHILD, "PYTHONPATH": str(root)}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "held\n", done.stderr
