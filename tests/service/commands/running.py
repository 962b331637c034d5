"""Run a command of `allinone-face` in this process, as its user would, and keep what it wrote."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.__main__ import main


@dataclass
class Done:
    """A command that ended."""

    returncode: int
    stdout: str
    stderr: str


def command(
    *words: object, url: str = "http://127.0.0.1:1", folder: Path | None = None, stdin: bytes = b"", **env: str
) -> Done:
    """Run a command against a server, with its data in a folder."""
    environment = {"FACE_URL": url} | ({"FACE_DATA_DIR": str(folder)} if folder else {}) | env
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())
