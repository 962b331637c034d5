"""docs/paper.md names only files, functions and recipes that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "paper.md").read_text()
PLACES = (ROOT, ROOT / "model", ROOT / "model" / "evaluate", ROOT / "model" / "datasets")


def sources(name):
    return [place / name for place in PLACES if (place / name).is_file()]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([\w/]+\.(?:py|json|md))\b", TEXT))))
def test_a_file_is_there(name):
    assert sources(name)


@pytest.mark.parametrize(
    ("name", "members"), sorted(set(re.findall(r"`([\w/]+\.py): ([\w, .\[\]\"]+)`", TEXT))), ids=str
)
def test_a_member_is_there(name, members):
    (path,) = sources(name)
    for member in members.split(", "):
        last = re.sub(r"\[.*", "", member).rpartition(".")[2]
        assert re.search(rf"(def|class) {last}\b|^{last}\b", path.read_text(), re.MULTILINE), member


@pytest.mark.parametrize("part", ["III-A1", "III-A2", "III-B", *(f"III-C{k}" for k in range(1, 6)), "III-D"])
def test_a_section_of_the_method_is_there(part):
    assert part in TEXT


def test_every_table_figure_and_equation_is_there():
    assert all(f"Table {n}" in TEXT for n in ("I", "II", "III", "IV"))
    assert "Tables V, VI" in TEXT
    assert all(f"IV-{letter}" in TEXT for letter in "ABCDEFG")
    equations = {int(n) for a, b in re.findall(r"Eq\. (\d)(?:–(\d))?", TEXT) for n in range(int(a), int(b or a) + 1)}
    assert equations == set(range(1, 9))
