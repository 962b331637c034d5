"""HELEN (Le et al. 2012), the 330 test photos: normalised mean error of the landmarks.

The 68 human points are mapped to the 21 (landmarks.from_68); the ears, which the markup lacks, are not counted: 19
points, all of them taken as visible. The true box is geometry.box_from_landmarks of the mapped points, with the nearest
jaw points in the ears' place; NME is the mean point error over √(w·h) of that box. Judged is the detection that
overlaps the true box most; below IoU 0.5 the face counts as missed. `nme` is the mean over the faces found,
`nme_with_misses` counts each missed face as 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model import landmarks as markup
from model.datasets import Sample
from model.datasets.readers import helen
from model.evaluate import metrics
from model.evaluate.result import Figure, Plot, Result, Table
from model.evaluate.run import Analyzed, Run, reference_box

COUNTED = np.array([i not in markup.EARS for i in range(markup.COUNT)])
LIMITS = np.linspace(0, 0.15, 151)


def test_samples(run: Run) -> list[Sample]:
    """Return the test samples, with 21 points from human markup alone: jaw points stand in for the ears."""
    samples = [s for s in helen.read(run.root("helen")) if s.split == "test"]
    return [replace(s, landmarks=markup.from_68(helen.read_pts(s.path.with_suffix(".pts")))) for s in samples]


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `helen`."""
    return score(run.analyze(run.some(test_samples(run)), "helen"))


def score(photos: Sequence[Analyzed]) -> Result:
    """Return the protocol's result for analyzed photos."""
    faces = [(p, face) for p in photos if (face := p.marked_face()) is not None]
    missed = len(photos) - len(faces)
    if faces:
        points = np.stack([p.faces.landmarks[f] for p, f in faces])
        truth = np.stack([np.asarray(p.sample.landmarks) for p, _ in faces])
        boxes = np.concatenate([box for p, _ in faces if (box := reference_box(p.sample)) is not None])
        errors = metrics.normalised_mean_error(points, truth, COUNTED, boxes)
        by_point = np.linalg.norm(points - truth, axis=-1) / np.sqrt(metrics.box_areas(boxes))[:, None]
    else:
        errors = np.zeros(0)
        by_point = np.full((1, markup.COUNT), np.nan)
    curve = metrics.cumulative(errors, LIMITS, len(photos))
    figures = (
        Figure("nme", 100 * float(errors.mean()) if faces else np.nan),
        Figure("nme_median", 100 * float(np.median(errors)) if faces else np.nan),
        Figure("nme_with_misses", 100 * float((errors.sum() + missed) / len(photos))),
        Figure("faces_under_5_percent", 100 * float(metrics.cumulative(errors, np.array([0.05]), len(photos))[0])),
        Figure("faces_missed", missed, "faces"),
    )
    rows = [(markup.NAMES[i], 100 * float(by_point[:, i].mean())) for i in np.flatnonzero(COUNTED)]
    plot = Plot("cumulative", "NME %", "share of faces", {"19 points": (100 * LIMITS, curve)})
    return Result("helen", len(photos), figures, (Table("By landmark", ("landmark", "NME %"), rows),), (plot,))
