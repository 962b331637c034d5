"""docs/scaling.md: its workers are what its commands print, and the searchers it tells of are those of deploy/."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from model import checkpoint
from model.identity import comparison

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/scaling.md").read_text()
COMMANDS = re.findall(r"^(python tests/bench/queue_simulation\.py --plan .*)$", TEXT, re.MULTILINE)
ROWS = re.findall(r"^\| [^|]*?(\d+) \+ (\d+) n ms \| (\d+) (\|.*\|)$", TEXT, re.MULTILINE)


def numbers(row: str) -> list[float]:
    return [float(cell) for cell in re.findall(r"[\d.]+", row.replace(",", ""))]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_plan_prints_the_rows_that_the_table_shows(command: str):
    fixed, image = re.findall(r"--plan (\d+) (\d+)", command)[0]
    shown = {
        numbers(cells)[0]: (float(one), numbers(cells)) for of, per, one, cells in ROWS if (of, per) == (fixed, image)
    }
    words = shlex.split(command)[1:]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    first, *lines = done.stdout.splitlines()
    printed = {found[0]: found for line in lines[2:] if (found := numbers(line))}
    assert set(shown) == set(printed)
    for rate, (one_worker, row) in shown.items():
        assert row == printed[rate]
        assert one_worker == round(numbers(first)[0])


def test_there_are_plans_and_rows_of_processors_and_of_gpus():
    assert len(COMMANDS) == len({command.partition("--p99")[0] for command in COMMANDS}) > 1
    assert ROWS
    assert re.search(r"^\| 2 CPU cores, ", TEXT, re.MULTILINE)
    assert re.search(r"^\| GPU, ", TEXT, re.MULTILINE)


def test_a_template_has_as_many_numbers_as_the_shipped_models():
    model = comparison.of(checkpoint.load())
    assert f"A template of the shipped model is {model.dimension} numbers" in TEXT
    assert f"--dimension {model.dimension}" in TEXT
