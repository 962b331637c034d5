"""One HTML page, self-contained: the paper's tables with ours beside theirs, curves, checkpoint, command.

A protocol whose data set is not there says 'no data' and where it was looked for; nothing is made up in its place.
"""

from __future__ import annotations

import base64
import html
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluate.paper.published import PARTS, Line, Part
from model.evaluate.result import Result
from model.evaluate.run import Run

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2330;
  background: #fff }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem }
table { border-collapse: collapse; width: 100% } td, th { padding: .3rem .6rem; border-bottom: 1px solid #d8dde6 }
th { text-align: left; font-weight: 600 } td:not(:first-child), th:not(:first-child) { text-align: right }
td.ours { font-weight: 600 } td.none { color: #6b7485; font-weight: 400 }
code { font: .9em ui-monospace, monospace; overflow-wrap: anywhere } img { max-width: 100%; height: auto }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
.note { color: #4a5364; font-size: .92rem } @media (prefers-color-scheme: dark) { body { background: #14181f;
  color: #e4e8ef } td, th { border-color: #333b48 } .note, td.none { color: #9aa5b6 } img { background: #fff } }
"""


@dataclass(frozen=True)
class Outcome:
    """What a protocol gave: its result, or why there is none."""

    result: Result | None
    reason: str = ""
    command: str = ""


def gather(
    run: Run, protocols: Mapping[str, Callable[[Run], Result]], command: Callable[[str], str]
) -> dict[str, Outcome]:
    """Run every protocol whose data are there. A set that is missing or unreadable is an outcome, not an error."""
    outcomes = {}
    for name, evaluate in protocols.items():
        try:
            outcomes[name] = Outcome(evaluate(run), command=command(name))
        except FileNotFoundError as error:
            outcomes[name] = Outcome(None, f"no data: {error}", command(name))
        except ValueError as error:
            outcomes[name] = Outcome(None, f"not measured: {error}", command(name))
        text = outcomes[name].reason or f"{outcomes[name].result.photos} photos"  # type: ignore[union-attr]
        print(f"{name:18} {text}", file=sys.stderr, flush=True)
    return outcomes


def page(outcomes: Mapping[str, Outcome], model: str, info: Mapping[str, object], date: str, command: str) -> str:
    """Return the report as one HTML page."""
    settings = ", ".join(f"{key} {value}" for key, value in info.items() if key != "tasks")
    measured = sum(outcome.result is not None for outcome in outcomes.values())
    head = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Evaluation {html.escape(model[:12])}</title><style>{_STYLE}</style></head><body>",
        "<h1>Evaluation beside the paper</h1>",
        f"<p>Checkpoint <code>{html.escape(model)}</code><br>{html.escape(settings)}<br>{html.escape(date)}, "
        f"{measured} of {len(outcomes)} protocols measured</p><p><code>{html.escape(command)}</code></p>",
        '<p class="note">Paper: Ranjan et al. 2016, An All-In-One Convolutional Neural Network for Face Analysis; '
        "(…) is the standard deviation over splits. Others: the best other figure in the paper's own tables, "
        "in the last table as their authors publish it.</p>",
    ]
    parts = [_part(part, outcomes) for part in PARTS]
    return "\n".join([*head, *parts, _plots(outcomes), _commands(outcomes), "</body></html>\n"])


def _part(part: Part, outcomes: Mapping[str, Outcome]) -> str:
    rows = "\n".join(_row(line, outcomes) for line in part.lines)
    return (
        f"<h2>{html.escape(part.title)}</h2><table><tr><th>measure</th><th>ours</th><th>paper</th><th>others</th></tr>"
        f"{rows}</table>"
    )


def _row(line: Line, outcomes: Mapping[str, Outcome]) -> str:
    outcome = outcomes.get(line.protocol, Outcome(None, "no data"))
    arrow = "↑" if line.better == "higher" else "↓"
    if outcome.result is None:
        ours = f'<td class="none">{html.escape(outcome.reason.partition(":")[0])}</td>'
    else:
        ours = f'<td class="ours">{html.escape(_value(outcome.result, line.figure))}</td>'
    paper, others = (html.escape(text or "–") for text in (line.paper, line.others))
    return f"<tr><td>{html.escape(line.title)} {arrow}</td>{ours}<td>{paper}</td><td>{others}</td></tr>"


def _value(result: Result, figure: str) -> str:
    values = {f.name: f.value for f in result.figures}
    digits = 3 if figure == "error" else 2
    text = f"{values[figure]:.{digits}f}" if values[figure] == values[figure] else "–"
    std = values.get(f"{figure}_std")
    return f"{text} ({std:.2f})" if std is not None and result.protocol == "ijba" else text


def _plots(outcomes: Mapping[str, Outcome]) -> str:
    """Return the curves as PNGs inside the page."""
    images = []
    with tempfile.TemporaryDirectory() as folder:
        for outcome in outcomes.values():
            if outcome.result is None:
                continue
            for path in outcome.result.draw(Path(folder)):
                data = base64.b64encode(path.read_bytes()).decode()
                title = html.escape(path.stem.replace("_", " "))
                images.append(f'<img alt="{title}" src="data:image/png;base64,{data}">')
    return f'<h2>Curves</h2><div class="plots">{"".join(images) or "none"}</div>'


def _commands(outcomes: Mapping[str, Outcome]) -> str:
    rows = []
    for name, outcome in outcomes.items():
        photos = outcome.reason if outcome.result is None else f"{outcome.result.photos} photos"
        command = f"<code>{html.escape(outcome.command)}</code>"
        rows.append(f"<tr><td>{html.escape(name)}</td><td>{html.escape(photos)}</td><td>{command}</td></tr>")
    heads = "<tr><th>protocol</th><th>data</th><th>command</th></tr>"
    return f"<h2>Protocols</h2><table>{heads}{''.join(rows)}</table>"


def whole_command(argv: Sequence[str]) -> str:
    """Return the command line that made the page."""
    return " ".join(["python -m model.evaluate", *map(shlex.quote, argv)])
