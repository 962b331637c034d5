"""docs/paper.md names only files, functions, commands and recipes that exist, and covers the paper's equations."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "paper.md").read_text()
PLACES = (ROOT, ROOT / "model", *sorted(path for path in (ROOT / "model").rglob("*") if path.is_dir()))


def sources(name: str) -> list[Path]:
    """Files that the document can mean by `name`, relative to the repository or to a room of model/."""
    return [place / name for place in PLACES if (place / name).is_file()]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.(?:py|json|md))\b", TEXT))))
def test_a_named_file_exists(name: str) -> None:
    assert sources(name)


@pytest.mark.parametrize(
    ("name", "members"), sorted(set(re.findall(r"`([\w/]+\.py): ([\w, .\[\]\"]+)`", TEXT))), ids=str
)
def test_a_named_member_exists(name: str, members: str) -> None:
    texts = [path.read_text() for path in sources(name)]
    for member in members.split(", "):
        last = re.sub(r"\[.*", "", member).rpartition(".")[2]
        assert any(re.search(rf"(def|class) {last}\b|^{last}\b", text, re.MULTILINE) for text in texts), member


@pytest.mark.parametrize("module", sorted(set(re.findall(r"(?:python|torchrun [^\n]*?) -m ([\w.]+)", TEXT))))
def test_a_named_command_exists(module: str) -> None:
    assert importlib.util.find_spec(module) is not None


def test_every_equation_of_the_paper_is_placed() -> None:
    ranges = re.findall(r"Eq\. (\d)(?:–(\d))?", TEXT)
    equations = {number for low, high in ranges for number in range(int(low), int(high or low) + 1)}
    assert equations == set(range(1, 9))
