"""OpenVINO's package reports each import to its makers unless it is kept from it: nothing leaves this machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys, threading
asked = []
sys.addaudithook(lambda event, _: asked.append(event) if event.startswith(("socket.", "urllib.")) else None)
import {module}
assert "openvino.tools.ovc" in sys.modules
print(sorted(set(asked)), [thread.name for thread in threading.enumerate()])
"""


@pytest.mark.parametrize("module", ["model.openvino_package", "model.runtime.engines.openvino"])
def test_what_imports_openvino_asks_no_host(module: str, tmp_path: Path) -> None:
    """It would from a thread, where the home folder has no file that refuses consent."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    words = [sys.executable, "-c", PROGRAM.format(module=module)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[] ['MainThread']\n"
    assert not list(tmp_path.iterdir())
