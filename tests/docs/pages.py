"""The documents as text, and what stands in them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    path.name: path.read_text() for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")]
}


def shell_blocks(page: str) -> list[str]:
    """Return the shell commands of a page, one string a fenced block."""
    return re.findall(r"^```sh\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def error_table(page: str) -> dict[str, str]:
    """Return the statuses, as written, by error code from the tables of a page's section on errors."""
    section = PAGES[page].split("## Errors", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([\d, ]+) \| (.*) \|$", section, re.MULTILINE)
    return {code: status for status, codes in rows for code in re.findall(r"`([a-z_]+)`", codes)}
