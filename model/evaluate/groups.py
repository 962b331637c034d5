"""Where it fails and what its scores are worth: errors by yaw, face size and sharpness, and calibration.

UTKFace's test folder for age and gender, CelebA's test part for gender and smile; found faces only (main_face). Yaw
is the network's own estimate, size the shorter side of its box, sharpness the factor of model.runtime.quality: nobody
labelled them. Calibration: photos in ten equal bins of the score; the expected calibration error is the mean distance,
weighted by photos, of a bin's mean score from its share of positives (Guo et al. 2017). The error of an age
is given by the age that was answered, since that is what a caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from model.datasets.store import read_photo
from model.evaluate import celeba, metrics, utkface
from model.evaluate.result import Figure, Plot, Result, Row, Table
from model.evaluate.run import Analyzed, Run
from model.runtime import quality

YAW = (0, 15, 30, 45, 180)
SIDE = (0, 40, 80, 120, 160, 10_000)
SHARPNESS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.01)
AGES = (0, 10, 20, 30, 40, 50, 60, 70, 200)
BINS = 10
Columns = dict[str, metrics.Floats]
Measure = Callable[[Columns], float]


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `utkface` and `celeba_wild`."""
    ages = run.analyze(run.some(utkface.test_samples(run)), "utkface")
    smiles = run.analyze(run.some(celeba.test_samples(run)), "celeba")
    return score(columns(ages), columns(smiles))


def columns(photos: Sequence[Analyzed]) -> Columns:
    """Return by name, [N], what the tables need of each photo with a face."""
    rows = []
    for photo in photos:
        face = photo.main_face()
        if face is None:
            continue
        one = photo.faces[[face]]
        sample = photo.sample
        sharpness = quality.assess(read_photo(sample.path), one)[0].sharpness
        side = float((one.boxes[0, 2:] - one.boxes[0, :2]).min())
        answers = (float(one.age[0]), float(one.female[0]), float(one.smile[0]))
        rows.append((abs(float(one.pose[0, 2])), side, sharpness, *answers, sample.age, sample.female, sample.smile))
    names = ("yaw", "side", "sharpness", "age", "female", "smile", "true_age", "true_female", "true_smile")
    return dict(zip(names, np.array(rows, dtype=float).reshape(-1, len(names)).T, strict=True))


def score(aged: Columns, smiling: Columns) -> Result:
    """Return the tables, figures and plots of both sets' columns."""
    tables = []
    for title, column, edges, unit in (
        ("yaw", "yaw", YAW, "°"),
        ("face size", "side", SIDE, " px"),
        ("sharpness", "sharpness", SHARPNESS, ""),
    ):
        header = (title, "photos", "age MAE", "gender %")
        tables.append(Table(f"UTKFace by {title}", header, _rows(aged, column, edges, unit, _age_error, _gender)))
        header = (title, "photos", "gender %", "smile %")
        tables.append(Table(f"CelebA by {title}", header, _rows(smiling, column, edges, unit, _gender, _smile)))
    tables.append(_expected_age_error(aged))
    reliability = {}
    figures = []
    for name, found, task in (
        ("gender, UTKFace", aged, "female"),
        ("gender, CelebA", smiling, "female"),
        ("smile, CelebA", smiling, "smile"),
    ):
        line, error = calibration(found[task], found[f"true_{task}"])
        reliability[name] = line
        figures.append(Figure(f"{name.replace(', ', '_').lower()}_calibration_error", 100 * error))
    bias = float((aged["age"] - aged["true_age"]).mean()) if len(aged["age"]) else float("nan")
    figures.append(Figure("age_bias", bias, "years"))
    plot = Plot("calibration", "mean score of the bin", "share of positives", reliability)
    return Result("groups", len(aged["age"]) + len(smiling["age"]), tuple(figures), tuple(tables), (plot,))


def calibration(scores: metrics.Floats, truth: metrics.Floats) -> tuple[tuple[metrics.Floats, metrics.Floats], float]:
    """Return the mean score and the share of positives of each bin with photos, and the expected calibration error."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    used_bins = np.unique(bins)
    predicted = np.array([scores[bins == b].mean() for b in used_bins])
    observed = np.array([truth[bins == b].mean() for b in used_bins])
    weight = np.array([(bins == b).mean() for b in used_bins])
    return (predicted, observed), float((weight * np.abs(predicted - observed)).sum()) if len(used_bins) else float(
        "nan"
    )


def _rows(columns: Columns, column: str, edges: Sequence[float], unit: str, *measures: Measure) -> list[Row]:
    rows: list[Row] = []
    for low, high in pairwise(edges):
        inside = (columns[column] >= low) & (columns[column] < high)
        if inside.any():
            inside_columns = {name: values[inside] for name, values in columns.items()}
            name = f"{low:g}{unit} +" if high == edges[-1] else f"{low:g}–{high:g}{unit}"
            rows.append((name, int(inside.sum()), *(measure(inside_columns) for measure in measures)))
    return rows


def _age_error(part: Columns) -> float:
    return float(np.abs(part["age"] - part["true_age"]).mean())


def _gender(part: Columns) -> float:
    return 100 * float(((part["female"] > 0.5) == (part["true_female"] == 1)).mean())


def _smile(part: Columns) -> float:
    return 100 * float(((part["smile"] > 0.5) == (part["true_smile"] == 1)).mean())


def _expected_age_error(aged: Columns) -> Table:
    rows: list[Row] = []
    for low, high in pairwise(AGES):
        inside = (aged["age"] >= low) & (aged["age"] < high)
        if inside.any():
            error = np.abs(aged["age"] - aged["true_age"])[inside]
            name = f"{low} +" if high == AGES[-1] else f"{low}–{high - 1}"
            rows.append((name, int(inside.sum()), float(error.mean()), float(np.quantile(error, 0.8))))
    return Table("Error of an age by the age answered", ("age answered", "photos", "MAE", "80 % within"), rows)
