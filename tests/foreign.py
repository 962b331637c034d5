"""Environments of their own for clients that others wrote, whose packages do not go together with ours."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "allinone-face" / "test-environments"
SECONDS = 300


def foreign_packages(*requirements: str) -> Path:
    """Return a folder of Node.js that holds these npm packages, made when it is missing.

    Skips the test where there is no Node.js, or they cannot be installed.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no Node.js")
    folder = CACHE / hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:16]
    install = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *requirements]
    return _made(folder, requirements, [install])


def foreign_environment(*requirements: str) -> Path:
    """Return the folder with the programs of an environment that holds these packages, made when it is missing.

    Skips the test where they cannot be installed.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = CACHE / hashlib.sha256("\n".join((version, *requirements)).encode()).hexdigest()[:16]
    environment = [sys.executable, "-m", "venv", "--clear", folder]
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", *requirements]
    return _made(folder, requirements, [environment, install]) / "bin"


def _made(folder: Path, requirements: Sequence[str], commands: Sequence[Sequence[str | Path]]) -> Path:
    """Run the commands that make a folder, unless they have been; skip the test where one fails."""
    complete = folder / "complete"
    if not complete.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"{', '.join(requirements)} cannot be installed: {getattr(error, 'stderr', None) or error}")
        complete.touch()
    return folder
