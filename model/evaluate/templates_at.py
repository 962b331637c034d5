"""Verification and identification between templates: the measures of IJB-A, on a matrix of scores.

Verification: TAR at FAR, metrics.py. Closed set: the share of the probes whose person is in the gallery (mated) for
which that person is among the R best scores. Open set: a threshold is set so that at most a share FPIR of the probes
whose person is not in the gallery have any score at or above it; TPIR is the share of mated probes whose own person
scores at or above it and is among the CANDIDATES best (Klare et al. 2015). Nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.evaluate.metrics import Floats, Integers

CANDIDATES = 20
"""Longest candidate list that a search may return."""


def _ranks(scores: Floats, probes: Integers, gallery: Integers) -> tuple[Floats, Integers]:
    """Score and rank from 1 [P] of each probe's own person in the gallery; −inf and the last rank and one without one.

    A person's score is the best of their templates; another person's equal score ranks before.
    """
    people, column = np.unique(gallery, return_inverse=True)
    best = np.full((len(probes), len(people)), -np.inf)
    for k in range(len(people)):
        best[:, k] = scores[:, column == k].max(axis=1)
    own = probes[:, None] == people[None]
    score = np.where(own, best, -np.inf).max(axis=1, initial=-np.inf)
    rank = 1 + ((best >= score[:, None]) & ~own).sum(axis=1)
    return score, np.where(own.any(axis=1), rank, len(people) + 1)


def rank_rates(scores: Floats, probes: Integers, gallery: Integers, ranks: Sequence[int]) -> Floats:
    """Return the closed-set rates [R] at each rank, of scores [P, G] between the people of probes [P] and gallery [G].

    Raises ValueError without a mated probe.
    """
    mated = np.isin(probes, gallery)
    if not mated.any():
        raise ValueError("closed-set identification needs a probe whose person is in the gallery")
    rank = _ranks(scores, probes, gallery)[1][mated]
    return np.array([(rank <= limit).mean() for limit in ranks])


def tpir_at_fpir(scores: Floats, probes: Integers, gallery: Integers, limits: Sequence[float]) -> Floats:
    """Open set: TPIR [L] at each FPIR. Raises ValueError without a mated or without a non-mated probe."""
    mated = np.isin(probes, gallery)
    if mated.all() or not mated.any():
        raise ValueError("open-set identification needs probes with and without a mate in the gallery")
    alarms = np.sort(scores[~mated].max(axis=1))[::-1]
    score, rank = (values[mated] for values in _ranks(scores, probes, gallery))
    rates = []
    for limit in limits:
        allowed = int(np.floor(limit * len(alarms) + 1e-9))
        above = score > alarms[allowed] if allowed < len(alarms) else np.ones(len(score), bool)
        rates.append(float((above & (rank <= CANDIDATES)).mean()))
    return np.array(rates)
