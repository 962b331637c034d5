"""Starts what build_images.py built, as an engine would with --read-only: the image's user, variables and command.

    unshare --mount python tests/ship/run_image.py OUT TARGET [--env NAME=VALUE] [-- WORDS]

The root is the image's layers, read-only; /tmp and the image's volumes are empty file systems in memory. Ports are this
machine's own. WORDS, without spaces, stand for entry point and command; `health` stands for the health check.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.ship.dockerfile import read

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Become the image's process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("target")
    parser.add_argument("--env", action="append", default=[])
    own, _, words = " ".join(sys.argv[1:]).partition(" -- ")
    given = parser.parse_args(own.split())
    image = json.loads((given.out / "images.json").read_text())[given.target]
    stage = read(ROOT / "Dockerfile")[1][given.target]
    parts = {word: stage.last(word) for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK", "VOLUME")}
    words = words.split() or [*parts["ENTRYPOINT"].words(), *parts["CMD"].words()]
    if words == ["health"]:
        words = parts["HEALTHCHECK"].words()
    root = given.out / f"running-{os.getpid()}"
    root.mkdir()
    _call("mount", "--make-rprivate", "/")
    _call("mount", "-t", "overlay", "overlay", "-o", f"ro,lowerdir={':'.join(reversed(image['layers']))}", str(root))
    for kernel in ("proc", "dev"):
        _call("mount", "--rbind", f"/{kernel}", str(root / kernel))
    _call("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp"))
    volume = parts["VOLUME"].rest
    owner = "uid={},gid={},mode=700".format(*image["user"].split(":"))
    _call("mount", "-t", "tmpfs", "-o", owner, "tmpfs", str(root / volume.lstrip("/")))
    env = image["env"] | dict(pair.split("=", 1) for pair in given.env)
    os.execvpe("/usr/sbin/chroot", ["chroot", f"--userspec={image['user']}", "--groups=", str(root), *words], env)


def _call(*words: str) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
