"""Glasses that people wear: whether eyes behind dark ones are told to be hidden, and others to be visible.

The photos of CelebA's test people. Who wears glasses is CelebA's label; which of them are dark is told by the rule of
model.datasets.sunglasses. It leaves out tinted and mirrored ones, behind some of which the eyes can be seen. A face's
eyes are said to be hidden when neither eye has a mean visibility of 0.5: the service then names the eyes as `occluded`.
Only faces that are found are judged (IoU ≥ 0.5 with the box of the mesh's landmarks); the others are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from model.datasets import Sample, sunglasses
from model.datasets.store import read_photo
from model.evaluate import celeba
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import Analyzed, Run, reference_box
from model.evaluate.visibility import VISIBLE

Worn = Literal["dark glasses", "other glasses", "no glasses"]
WORN: tuple[Worn, ...] = ("dark glasses", "other glasses", "no glasses")
_SIDES = (sunglasses.EYES[:3], sunglasses.EYES[3:])


def worn(sample: Sample) -> Worn | None:
    """Return what the person wears; None where the rule cannot tell, or where a landmark is not labelled."""
    if sample.visibility is None or reference_box(sample) is None or np.isnan(sample.glasses):
        return None
    if sample.glasses == 0:
        return "no glasses"
    labelled = sunglasses.labelled(sample, read_photo(sample.path))
    if sunglasses.hides_eyes(labelled):
        return "dark glasses"
    return "other glasses" if labelled is sample else None


def eyes_hidden(photo: Analyzed) -> bool | None:
    """Return whether the eyes of the marked face are said to be hidden; None when the face was not found."""
    face = photo.marked_face()
    if face is None:
        return None
    visibility = photo.faces.visibility[face]
    return max(float(visibility[list(side)].mean()) for side in _SIDES) < VISIBLE


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `celeba_wild`."""
    photos = run.analyze(run.some(celeba.test_samples(run)), "sunglasses")
    return score([(what, eyes_hidden(photo)) for photo in photos if (what := worn(photo.sample)) is not None])


def score(answers: Sequence[tuple[Worn, bool | None]]) -> Result:
    """Return the shares of faces whose eyes are told rightly, from what each wears and eyes_hidden()'s answer."""
    figures, rows = [], list[Row]()
    for what in WORN:
        found = [hidden for kind, hidden in answers if kind == what and hidden is not None]
        missed = sum(kind == what and hidden is None for kind, hidden in answers)
        hidden = what == "dark glasses"
        right = 100 * float(np.mean([answer == hidden for answer in found])) if found else float("nan")
        figures.append(Figure(f"{what.replace(' ', '_')}_said_{'hidden' if hidden else 'visible'}", right))
        rows.append((what, len(found), sum(found), missed))
    columns = ("worn", "faces found", "eyes said to be hidden", "faces missed")
    return Result("sunglasses", len(answers), tuple(figures), (Table("By what is worn", columns, rows),))
