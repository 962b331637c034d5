"""What a protocol answers: figures, tables and plots; printed, written as JSON and Markdown, drawn as PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model.evaluate.metrics import Floats

Row = tuple[str | int | float, ...]


@dataclass(frozen=True)
class Figure:
    """One number. Shares are given in per cent."""

    name: str
    value: float
    unit: str = "%"

    def __str__(self) -> str:
        digits = 0 if self.unit in {"photos", "faces", "pairs"} or self.unit.startswith("of ") else 2
        return f"{self.value:.{digits}f} {self.unit}".strip()


@dataclass(frozen=True)
class Table:
    """Rows under columns, the first column naming the row."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]

    def text(self) -> str:
        """Return the table as Markdown, padded so that it reads well on a terminal."""
        cells = [self.columns, *(tuple(_cell(value) for value in row) for row in self.rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(self.columns))]
        lines = [self._line(row, widths) for row in cells]
        return "\n".join([self.title, "", lines[0], self._line(["-" * w for w in widths], widths), *lines[1:]])

    @staticmethod
    def _line(row: Sequence[str], widths: Sequence[int]) -> str:
        first, *others = zip(row, widths, strict=True)
        return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]) + " |"


@dataclass(frozen=True)
class Plot:
    """Lines of one diagram: name in the key → x and y [N]."""

    name: str
    x: str
    y: str
    lines: Mapping[str, tuple[Floats, Floats]]
    log_x: bool = False


@dataclass(frozen=True)
class Result:
    """The outcome of one protocol; the first figures are those to quote."""

    protocol: str
    photos: int
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = field(default=())

    def __getitem__(self, name: str) -> float:
        """Return the value of a figure. Raises KeyError for a name it lacks."""
        return {figure.name: figure.value for figure in self.figures}[name]

    def text(self) -> str:
        """Return the figures and then each table as text for the terminal."""
        figures = Table(
            f"{self.protocol}: {self.photos} photos", ("figure", "value"), [(f.name, str(f)) for f in self.figures]
        )
        return "\n\n".join(table.text() for table in (figures, *self.tables))

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name with their units, and the tables' rows; null where nothing could be measured."""
        return {
            "photos": self.photos,
            "figures": {f.name: _finite(f.value) for f in self.figures},
            "units": {f.name: f.unit for f in self.figures},
            "tables": {
                t.title: {"columns": t.columns, "rows": [[_finite(v) for v in row] for row in t.rows]}
                for t in self.tables
            },
        }

    def draw(self, folder: Path) -> list[Path]:
        """Write each plot as PROTOCOL_NAME.png into a folder, which is made when missing; return the files written."""
        folder.mkdir(parents=True, exist_ok=True)
        return [_draw(plot, folder / f"{self.protocol}_{plot.name}.png") for plot in self.plots]


def results_rows(results: Sequence[Result], commands: Sequence[str], date: str, digest: str) -> str:
    """Return a Markdown table for docs/results.md: a row for each figure, with date, checkpoint and command."""
    rows: list[Row] = [
        (result.protocol, f.name, str(f), result.photos, date, digest[:12], f"`{command}`")
        for result, command in zip(results, commands, strict=True)
        for f in result.figures
    ]
    return Table("", ("protocol", "figure", "value", "photos", "date", "checkpoint", "command"), rows).text().strip()


def _finite(value: str | int | float) -> str | int | float | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: str | int | float) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _draw(plot: Plot, path: Path) -> Path:
    import matplotlib as mpl  # noqa: PLC0415 - a second to import, and only plots need it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for name, (x, y) in plot.lines.items():
        axes.plot(x, y, label=name)
    axes.set(xlabel=plot.x, ylabel=plot.y, title=path.stem.replace("_", " "))
    if plot.log_x:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
