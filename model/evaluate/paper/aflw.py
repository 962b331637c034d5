"""AFLW (Köstinger et al. 2011): error of the 21 landmarks by yaw (section IV-B, Table II; protocol of Zhu et al. 2016).

A subset of the test part with as many faces in each yaw bin [0°, 30°], (30°, 60°], (60°, 90°]: 450 where each bin has
150, else what the smallest bin allows; drawn with a fixed seed, faces turned further left out. A face's error is the
mean distance of its visible points from the mean landmarks over its proposals (regions.py), over √(w·h) of its
rectangle. `nme_0_30` … are the bins' means, `nme` the mean of the three, `nme_std` their standard deviation (of a
sample, as the paper's columns have it: 2.84, 2.94, 3.09 give 0.13). A face without a proposal has no error:
`faces_without_proposal` counts them, `nme_with_misses` takes each as 100 %.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.datasets import Sample
from model.datasets.readers import aflw
from model.evaluate import metrics, regions
from model.evaluate.paper.afw import landmark_errors
from model.evaluate.result import Figure, Plot, Result, Table
from model.evaluate.run import Run

BINS = (0.0, 30.0, 60.0, 90.0)
EACH = 150
"""Faces of each bin (section IV-B: 450 in all)."""
LIMITS = np.linspace(0, 0.15, 151)


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `aflw`."""
    test = [s for s in aflw.read(run.root("aflw")) if s.split == "test"]
    chosen = balanced(test, EACH if run.limit is None else max(run.limit // 3, 1))
    return score(regions.answers(run.analyzer, chosen, "aflw"), chosen)


def bin_of(yaw: float) -> int | None:
    """Return the number of a yaw's bin; None beyond 90°."""
    size = abs(yaw)
    return next((k for k in range(3) if size <= BINS[k + 1]), None)


def balanced(samples: Sequence[Sample], each: int = EACH, seed: int = 0) -> list[Sample]:
    """Return equally many faces of each bin, at most `each`, in order. Raises ValueError for an empty bin.

    A face needs a box, a pose and a visible point to be taken.
    """
    bins: list[list[int]] = [[], [], []]
    for index, sample in enumerate(samples):
        is_labelled = sample.pose is not None and sample.box is not None and sample.landmarks is not None
        if is_labelled and sample.pose is not None and np.isfinite(np.asarray(sample.landmarks)).any():
            number = bin_of(float(sample.pose[2]))
            if number is not None:
                bins[number].append(index)
    count = min(each, *map(len, bins))
    if not count:
        raise ValueError(
            f"data set aflw: no test face of |yaw| {' / '.join(names(k) for k in range(3) if not bins[k])}"
        )
    rng = np.random.default_rng(seed)
    picked = np.concatenate([rng.choice(members, count, replace=False) for members in bins])
    return [samples[int(index)] for index in np.sort(picked)]


def names(number: int) -> str:
    """Return a bin as the tables name it."""
    return f"[{BINS[number]:.0f}, {BINS[number + 1]:.0f}]"


def score(answers: Sequence[regions.Answer | None], samples: Sequence[Sample]) -> Result:
    """Return the protocol's result for the answers about the subset's faces."""
    errors = landmark_errors(answers, samples)
    detected = np.isfinite(errors)
    bins = np.array([bin_of(float(s.pose[2])) if s.pose is not None else None for s in samples])
    means = [
        float(errors[(bins == k) & detected].mean()) if ((bins == k) & detected).any() else np.nan for k in range(3)
    ]
    missed = int((~detected).sum())
    figures = (
        *(Figure(f"nme_{BINS[k]:.0f}_{BINS[k + 1]:.0f}", 100 * means[k]) for k in range(3)),
        Figure("nme", 100 * float(np.mean(means))),
        Figure("nme_std", 100 * float(np.std(means, ddof=1))),
        Figure("nme_with_misses", 100 * float(np.where(detected, errors, 1.0).mean())),
        Figure("faces_without_proposal", missed, "faces"),
    )
    rows = [(names(k), int((bins == k).sum()), int(((bins == k) & ~detected).sum()), 100 * means[k]) for k in range(3)]
    table = Table("By yaw", ("|yaw| °", "faces", "without proposal", "NME %"), rows)
    curve = metrics.cumulative(errors[detected], LIMITS, len(samples))
    plot = Plot("cumulative", "NME %", "share of faces", {"21 points": (100 * LIMITS, curve)})
    return Result("aflw", len(samples), figures, (table,), (plot,))
