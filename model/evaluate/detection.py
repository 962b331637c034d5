"""Detection: average precision, recall and false alarms a photo.

Marked faces: HELEN test (box from the human points) and CelebA test (box from the mesh labels; the few photos the mesh
found no face in are left out), both boxes by geometry.box_from_landmarks, the rule that our own boxes follow; a
detection is right at IoU ≥ 0.5. Unmarked faces stand in HELEN's backgrounds and in CelebA photos where the mesh counted
more than one face: there a detection with less than half of its area on the marked face is ignored, so precision comes
from the other CelebA photos and from those without any face, `negatives` and `negatives_objects`, test parts.

`recall`, `false_alarms_` (a photo without a face) and `wrong_` (a photo with marked faces; parts of a face and second
boxes count) are at the Analyzer's default settings, what a user gets. `ap` pools all four sets, with the score
threshold lowered to pipeline.LOW_SCORE, below which nothing is refined; from the same detections `recall_at_` gives the
recall at the score threshold where both sets of photos without faces stay within the stated false alarms a photo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from model.datasets.readers import backgrounds
from model.evaluate import celeba, helen, metrics
from model.evaluate.result import Figure, Plot, Result, Table
from model.evaluate.run import Analyzed, Run, reference_box
from model.runtime.limits import LOW_SCORE

NEGATIVES = ("negatives", "negatives_objects")
RATES = ((0.05, 0.1), (0.01, 0.03))
Photos = Mapping[str, Sequence[Analyzed]]


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without one of the four sets."""
    samples = {"helen": run.some(helen.test_samples(run)), "celeba": run.some(celeba.test_samples(run))}
    for name in NEGATIVES:
        samples[name] = run.some([s for s in backgrounds.read(name, run.root(name)) if s.split == "test"])
    usual = {name: run.analyze(part, f"detection: {name}") for name, part in samples.items()}
    low = {name: run.analyze(part, name, min_score=LOW_SCORE) for name, part in samples.items()}
    return score(usual, low)


def score(usual: Photos, low: Photos) -> Result:
    """Return the protocol's result for photos by set, analyzed with the default and with a low score threshold.

    Raises ValueError when `helen` or `celeba` has no marked face.
    """
    judged = {name: _judge(name, photos) for name, photos in usual.items()}
    marked = [name for name in judged if name not in NEGATIVES]
    faces = {name: judged[name].faces for name in marked}
    if not all(faces.values()):
        raise ValueError(f"no marked face in {', '.join(name for name in marked if not faces[name])}")
    right = {name: int((judged[name].verdicts == 1).sum()) for name in marked}
    wrong = {name: int((judged[name].verdicts == 0).sum()) / len(usual[name]) for name in marked}
    alarms = {name: len(judged[name].scores) / len(usual[name]) for name in NEGATIVES}

    swept = {name: _judge(name, photos) for name, photos in low.items()}
    curve = metrics.precision_recall(
        np.concatenate([j.scores for j in swept.values()]),
        np.concatenate([j.verdicts for j in swept.values()]),
        sum(j.faces for j in swept.values()),
    )
    figures = [
        Figure("recall", 100 * sum(right.values()) / sum(faces.values())),
        *(Figure(f"recall_{name}", 100 * right[name] / faces[name]) for name in marked),
        *(Figure(f"false_alarms_{name}", alarms[name], "a photo") for name in NEGATIVES),
        *(Figure(f"wrong_{name}", wrong[name], "a photo") for name in marked),
        Figure("ap", 100 * curve.average_precision),
        *(_recall_at(swept, {n: len(low[n]) for n in NEGATIVES}, rates) for rates in RATES),
    ]
    rows = [
        (name, len(usual[name]), j.faces, *((j.verdicts == v).sum().item() for v in (1, 0, metrics.IGNORED)))
        for name, j in judged.items()
    ]
    table = Table("Default settings", ("set", "photos", "faces", "right", "wrong", "ignored"), rows)
    plot = Plot("precision_recall", "recall", "precision", {"all four sets": (curve.recall, curve.precision)})
    return Result("detection", sum(map(len, usual.values())), tuple(figures), (table,), (plot,))


class _Judged:
    """All detections of a set: scores and verdicts [N], and how many faces are marked in it."""

    def __init__(self, scores: list[metrics.Floats], verdicts: list[metrics.Integers], faces: int) -> None:
        self.scores = np.concatenate([np.zeros(0), *scores])
        self.verdicts = np.concatenate([np.zeros(0, dtype=np.int64), *verdicts])
        self.faces = faces


def _judge(name: str, photos: Sequence[Analyzed]) -> _Judged:
    scores = []
    verdicts = []
    faces = 0
    for photo in photos:
        box = reference_box(photo.sample)
        if box is None and name not in NEGATIVES:
            continue
        truth = np.zeros((0, 4)) if box is None else box
        extras = name == "helen" or photo.sample.faces > 1
        scores.append(photo.faces.scores)
        verdicts.append(metrics.match(photo.faces.boxes, scores[-1], truth, extras))
        faces += len(truth)
    return _Judged(scores, verdicts, faces)


def _recall_at(swept: Mapping[str, _Judged], photos: Mapping[str, int], rates: tuple[float, float]) -> Figure:
    threshold = max(
        metrics.threshold_for_false_alarms(swept[name].scores, photos[name], rate)
        for name, rate in zip(NEGATIVES, rates, strict=True)
    )
    right = sum(((j.verdicts == 1) & (j.scores > threshold)).sum().item() for j in swept.values())
    return Figure(f"recall_at_{rates[0]:g}_{rates[1]:g}", 100 * right / sum(j.faces for j in swept.values()))
