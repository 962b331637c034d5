"""What is referred to by its heading is there: in links between the pages, and in the words of files beside them."""

import re
import subprocess

import pytest

from tests.docs.pages import PAGES, ROOT

HEADINGS = {name: re.findall(r"^#+ (.+)$", text, re.MULTILINE) for name, text in PAGES.items()}
NAMED = re.compile(r"\b(?:docs/)?(\w+\.md)(?:\]\([^)]*\)|\))?, '([^']+)'")
"""A page and one of its headings: docs/operations.md, 'Start'."""


def anchor(heading: str) -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", sorted(PAGES))
def test_every_link_into_a_page_leads_to_one_of_its_headings(page: str):
    for target, part in re.findall(r"\]\((?:docs/)?([\w.]*)#([^)]+)\)", PAGES[page]):
        assert part in map(anchor, HEADINGS[target or page]), (target, part)


def test_every_heading_that_a_file_names_is_in_its_page():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wrong = []
    for path in map(ROOT.joinpath, listed.splitlines()):
        if path.suffix in {".md", ".yml", ".yaml", ".py", ".sh", ".json"} and path.is_file():
            text = re.sub(r"\s+#?\s*", " ", path.read_text())  # also over the end of a line
            wrong += [
                (str(path.relative_to(ROOT)), page, heading)
                for page, heading in NAMED.findall(text)
                if page in HEADINGS and page != "log.md" and heading not in HEADINGS[page]
            ]
    assert wrong == []
