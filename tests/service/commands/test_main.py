"""The program itself: its version, its help, and what it needs to be installed."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from service.__main__ import COMMANDS
from tests.service.commands.running import command

ROOT = Path(__file__).parents[3]
SERVER_PACKAGES = ("numpy", "cv2", "PIL", "redis", "fastapi", "uvicorn", "cryptography", "msgspec", "torch")


def test_version() -> None:
    assert command("--version").stdout == f"allinone-face {version('allinone-face')}\n"


def test_the_help_lists_every_command() -> None:
    shown = command("--help")
    assert shown.returncode == 0
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("    ") and line.split()}
    assert listed >= set(COMMANDS)


ACTIONS = {
    "people": ["list", "show", "delete"],
    "collections": ["list", "create", "show", "delete"],
    "jobs": ["submit", "wait", "results", "delete"],
    "keys": ["create", "list", "rotate", "revoke"],
    "import": ["compreface", "folder", "rekognition"],
    "audit": ["verify"],
    "master-key": ["new", "rewrap"],
    "dead-letters": ["list", "replay", "drop"],
}
EVERY = [(name,) for name in COMMANDS if name not in ACTIONS]
EVERY += [(name, action) for name, actions in ACTIONS.items() for action in actions]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_help_has_an_example_with_its_name(words: tuple[str, ...]) -> None:
    shown = command(*words, "--help")
    assert shown.returncode == 0
    assert f"usage: allinone-face {' '.join(words)}" in shown.stdout
    assert f"allinone-face {' '.join(words)}" in shown.stdout.partition("examples:")[2]


def run_without(packages: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as in an installation that lacks packages."""
    code = f"""
import sys
for name in {packages!r}:
    sys.modules[name] = None
from service.__main__ import main
main({list(words)!r})
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


OF_THE_CLIENT = [name for name, entry in COMMANDS.items() if not entry.extra]


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[int, str]]:
    """The exit status and the complaints of each of the client's commands, in one process without those packages."""
    code = f"""
import contextlib, io, json, sys
for name in {SERVER_PACKAGES!r}:
    sys.modules[name] = None
from service.__main__ import main
ends = {{}}
for name in {OF_THE_CLIENT!r}:
    with contextlib.redirect_stderr(io.StringIO()) as complaints, contextlib.redirect_stdout(io.StringIO()):
        try:
            main([name, "--help"])
        except SystemExit as ended:
            ends[name] = ended.code or 0, complaints.getvalue()
print(json.dumps(ends))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return {name: (status, complaints) for name, (status, complaints) in json.loads(done.stdout).items()}


@pytest.mark.parametrize("name", OF_THE_CLIENT)
def test_the_clients_commands_run_without_the_servers_packages(helped: dict[str, tuple[int, str]], name: str) -> None:
    assert helped[name] == (0, "")


def test_the_client_reaches_for_no_package_of_the_server() -> None:
    code = f"""
import sys
for name in {SERVER_PACKAGES!r}:
    sys.modules[name] = None
from service.client import AsyncClient, Client
Client()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_command_says_which_extra_it_lacks() -> None:
    done = run_without(("redis",), "keys", "list")
    assert done.returncode == 1
    assert "this command needs the package redis: pip install 'allinone-face[server]'" in done.stderr
    done = run_without(("msgspec",), "analyze", "x.jpg")
    assert done.returncode == 1
    assert "pip install 'allinone-face[model]'" in done.stderr


@pytest.mark.parametrize(("told", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpy_starts_no_threads_of_its_own_unless_it_is_told_to(told: dict[str, str], threads: str) -> None:
    code = """
import os
from service.__main__ import main
try:
    main(["--version"])
except SystemExit:
    print(os.environ["OPENBLAS_NUM_THREADS"])
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"} | told
    words = [sys.executable, "-c", code]
    shown = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True, env=environment)
    assert shown.stdout.splitlines()[-1] == threads
