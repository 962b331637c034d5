"""What a similarity means: thresholds for false accept rates with confidence intervals, a probability, 1:N thresholds.

Everything comes from pairs of photos of known people: two photos of different people are an impostor pair, two of one
person a genuine one. Confidence intervals resample people, not pairs, since pairs share people.

Beyond the measured rates the tail is exponential in Fisher's z = artanh(score): a power law of 1 − score, as directions
in space have it, that never reaches 1. An exponential in the score itself is too heavy: of strangers searched among
8,000 photos 0.08 % matched where 1 % was asked for, and 0.97 % with z (CelebA's test people among its training people).

Several media pooled into one template score strangers higher than photos do, and thresholds rise with them
(model.identity.pooling_bias).

Numpy only, so that a process without torch can answer with thresholds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.identity.pooling_bias import fisher_z, pooling_shifts, units_of

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

RATES = (1e-2, 1e-3, 1e-4)
"""False accept rates that every answer comes with thresholds for."""
RESAMPLES = 300
CONFIDENCE = 0.95
TAIL = 1e-3
"""Share of the impostor scores, from the top, that the tail beyond the measured rates is fitted to."""
FPIR = 0.01
"""False positive identification rate that a 1:N threshold holds by default: of 100 strangers searched, one matches."""


@dataclass(frozen=True)
class Threshold:
    """Scores at or above `value` are accepted at this false accept rate; [low, high] is its confidence interval."""

    far: float
    value: float
    low: float
    high: float
    tar: float  # share of genuine pairs accepted, on the same people


@dataclass(frozen=True)
class Calibration:
    """A model's scores explained. `score` names what was calibrated ('cosine' or 'tpe')."""

    score: str
    people: int
    photos: int
    genuine_pairs: int
    impostor_pairs: int
    thresholds: tuple[Threshold, ...]  # of RATES, loosest first
    slope: float  # log odds of 'same person' at even prior = slope · score + intercept
    intercept: float
    tail_start: float  # score that `tail_share` of the impostor pairs reach …
    tail_share: float
    tail_scale_z: float  # … and how far beyond it, in Fisher's z, their number falls by e
    pooling: float = 0.0  # by how much in z a template of very many media scores strangers higher …
    pooling_both: float = 0.0  # … and, as a share of z, beyond that what two such templates do

    def probability(self, similarity: float, prior: float = 0.5, media: Sequence[int] = ()) -> float:
        """Return the chance 0–1 that both show one person, when `prior` of the pairs that are asked about do.

        Raises ValueError for a prior that is not between 0 and 1.
        """
        if not 0 < prior < 1:
            raise ValueError(f"the prior must lie between 0 and 1, not {prior}")
        odds = self.slope * self._shifted(similarity, -1, media) + self.intercept + math.log(prior / (1 - prior))
        return 1 / (1 + math.exp(-odds)) if odds > -700 else 0.0

    def threshold(self, far: float, media: Sequence[int] = ()) -> float:
        """Return the threshold of a false accept rate: as measured, or beyond the measured rates by the fitted tail.

        `media`: how many are pooled on either side, where it is not one photo.

        Between measured rates it is linear in the logarithm of the rate; a rate looser than all gets the loosest's
        threshold. Raises ValueError for a rate not between 0 and 1.
        """
        if not 0 < far < 1:
            raise ValueError(f"a false accept rate lies between 0 and 1, not {far}")
        if far < self.thresholds[-1].far:
            return self._shifted(max(self._tail(far), self.thresholds[-1].value), 1, media)
        rates = [math.log(t.far) for t in reversed(self.thresholds)]
        values = [t.value for t in reversed(self.thresholds)]
        return self._shifted(float(np.interp(math.log(far), rates, values)), 1, media)

    def identification_threshold(self, gallery_size: int, fpir: float = FPIR, media: Sequence[int] = ()) -> float:
        """Return the threshold at which searches of strangers among that many people match at most at the rate `fpir`.

        Each comparison must then err at 1 − (1 − fpir)^(1/N). Comparisons of one probe are not independent, which
        makes the true rate lower: the rate is held. Raises ValueError for a negative size or a bad rate.
        """
        if gallery_size < 0:
            raise ValueError(f"a gallery has no {gallery_size} people")
        if not 0 < fpir < 1:
            raise ValueError(f"a rate lies between 0 and 1, not {fpir}")
        return self.threshold(-math.expm1(math.log1p(-fpir) / max(gallery_size, 1)), media)

    def _tail(self, far: float) -> float:
        return math.tanh(fisher_z(self.tail_start) + self.tail_scale_z * math.log(self.tail_share / far))

    def _shifted(self, score: float, direction: int, media: Sequence[int]) -> float:
        """Return a score of two photos as the equal one of templates of so many media (1), or the reverse (−1)."""
        parts = [1 - 1 / max(number, 1) for number in media]
        shift = self.pooling * sum(parts)
        if not shift:
            return score
        growth = 1 + self.pooling_both * (math.prod(parts) if len(parts) == 2 else 0)
        return math.tanh(fisher_z(score) * growth + shift if direction > 0 else (fisher_z(score) - shift) / growth)

    def as_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON types, for a checkpoint's header or a file."""
        return {**asdict(self), "thresholds": [asdict(t) for t in self.thresholds]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Return the calibration that as_dict() wrote. Raises ValueError for anything else."""
        try:
            fields = {**data, "thresholds": tuple(Threshold(**t) for t in data["thresholds"])}
            return cls(**fields)
        except (TypeError, KeyError, IndexError) as error:
            raise ValueError("these are no calibration data") from error


@dataclass(frozen=True, eq=False)
class Pairs:
    """All pairs of photos, of which the impostors' highest scores are kept."""

    genuine: Floats  # [G] scores
    impostor: Floats  # [I] scores, best first
    impostor_people: Integers  # [I, 2] numbers of both people
    photos: Integers  # [P] how many each person has

    @property
    def impostor_pairs(self) -> int:
        """Return the number of all impostor pairs, those below the kept scores included."""
        return int(_pairs_between(self.photos))


def all_pairs(vectors: Floats, subjects: Integers, keep: float = 2 * RATES[0], block: int = 512) -> Pairs:
    """Return the cosines of all pairs of vectors [N, D] of people [N]; of impostors only the top share `keep`.

    Raises ValueError without a genuine or an impostor pair.
    """
    units = units_of(np.asarray(vectors, np.float32))
    _, person, photos = np.unique(subjects, return_inverse=True, return_counts=True)
    if photos.max() < 2 or len(photos) < 2:
        raise ValueError("calibration needs two photos of one person, and two people")
    kept_count = max(int(keep * _pairs_between(photos)), min(int(_pairs_between(photos)), 10_000))
    genuine = []
    impostor = np.zeros(0, np.float32)
    people = np.zeros((0, 2), np.int64)
    for start in range(0, len(units), block):
        rows = np.arange(start, min(start + block, len(units)))
        scores = units[rows] @ units.T
        later = np.arange(len(units))[None] > rows[:, None]
        same = person[rows][:, None] == person[None]
        first, second = np.nonzero(later & same)
        genuine.append(scores[first, second])
        first, second = np.nonzero(later & ~same & (scores >= (impostor[-1] if len(impostor) == kept_count else -2)))
        impostor = np.concatenate([impostor, scores[first, second]])
        people = np.concatenate([people, np.stack([person[rows[first]], person[second]], axis=1)])
        best = np.argsort(-impostor, kind="stable")[:kept_count]
        impostor = impostor[best]
        people = people[best]
    return Pairs(np.concatenate(genuine), impostor, people, photos)


def calibrate(
    vectors: Floats,
    subjects: Integers,
    score: str,
    rates: Sequence[float] = RATES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Calibration:
    """Calibrate on vectors [N, D] of people [N]; `score` is their name. The same input gives the same result.

    Raises ValueError when the pairs cannot carry the tightest rate (ten impostor pairs above it).
    """
    pairs = all_pairs(vectors, subjects, keep=2 * max(rates))
    _check_pairs(pairs, min(rates))
    rng = np.random.default_rng(seed)
    thresholds = _thresholds(pairs, rates, resamples, rng)
    slope, intercept = _logistic(vectors, subjects, pairs, rng)
    above = max(int(TAIL * pairs.impostor_pairs), 10)
    start = float(pairs.impostor[above - 1])
    pooling, pooling_both = pooling_shifts(vectors, subjects, rng, RATES[0])
    return Calibration(
        score=score,
        people=len(pairs.photos),
        photos=len(subjects),
        genuine_pairs=len(pairs.genuine),
        impostor_pairs=pairs.impostor_pairs,
        thresholds=thresholds,
        slope=slope,
        intercept=intercept,
        tail_start=start,
        tail_share=above / pairs.impostor_pairs,
        tail_scale_z=max(float((fisher_z(pairs.impostor[:above]) - fisher_z(start)).mean()), 1e-6),
        pooling=pooling,
        pooling_both=pooling_both,
    )


def _check_pairs(pairs: Pairs, rate: float) -> None:
    """Raise ValueError where fewer than ten impostor pairs would lie above the threshold of a false accept rate."""
    if rate * pairs.impostor_pairs < 10:
        needed = math.ceil(10 / rate)
        raise ValueError(
            f"{pairs.impostor_pairs:,} pairs of photos of different people; "
            f"a false accept rate of {rate:g} needs {needed:,}: "
            f"some {math.ceil(math.sqrt(2.1 * needed))} photos of many people"
        )


def _thresholds(
    pairs: Pairs, rates: Sequence[float], resamples: int, rng: np.random.Generator
) -> tuple[Threshold, ...]:
    """Return a threshold for each false accept rate, highest rate first, with its interval over resampled people."""
    values = _quantiles(pairs, np.ones(len(pairs.photos)), rates)
    people = len(pairs.photos)
    sampled = [
        _quantiles(pairs, np.bincount(rng.integers(people, size=people), minlength=people), rates)
        for _ in range(resamples)
    ]
    edge = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(sampled, [edge, 100 - edge], axis=0)
    return tuple(
        Threshold(rate, float(v), float(min(a, v)), float(max(b, v)), float((pairs.genuine >= v).mean()))
        for rate, v, a, b in sorted(zip(rates, values, low, high, strict=True), key=lambda row: -row[0])
    )


def _pairs_between(photos: Floats | Integers) -> float:
    """Return the number of pairs of photos of different people, when people have so many photos [P]."""
    return float((photos.sum() ** 2 - (photos**2).sum()) / 2)


def _quantiles(pairs: Pairs, times: Floats | Integers, rates: Sequence[float]) -> Floats:
    """Return the thresholds [R] when people are taken so many times [P]; copies of one person are no impostors."""
    weights = times[pairs.impostor_people[:, 0]] * times[pairs.impostor_people[:, 1]]
    total = _pairs_between(times * pairs.photos)
    accepted = np.cumsum(weights)
    index = np.searchsorted(accepted, np.asarray(rates) * total, side="right")
    return np.asarray(pairs.impostor[np.minimum(index, len(pairs.impostor) - 1)] + 1e-6)


def _logistic(
    vectors: Floats, subjects: Integers, pairs: Pairs, rng: np.random.Generator, draws: int = 200_000
) -> tuple[float, float]:
    """Return slope and intercept of the log odds, both kinds of pair weighing the same, by Newton's method."""
    units = units_of(vectors)
    first, second = rng.integers(len(units), size=(2, draws))
    strangers = np.asarray(subjects)[first] != np.asarray(subjects)[second]
    impostor = np.einsum("nd,nd->n", units[first[strangers]], units[second[strangers]])
    scores = np.concatenate([pairs.genuine, impostor]).astype(np.float64)
    same = np.concatenate([np.ones(len(pairs.genuine)), np.zeros(len(impostor))])
    weights = np.where(same == 1, 0.5 / len(pairs.genuine), 0.5 / len(impostor))
    inputs = np.stack([scores, np.ones(len(scores))], axis=1)
    beta = np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-np.clip(inputs @ beta, -500, 500)))
        slope = inputs.T @ (weights * (same - chance)) - 1e-6 * beta
        curvature = (inputs * (weights * chance * (1 - chance))[:, None]).T @ inputs + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, slope)
        beta = beta + step * min(1.0, 10 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return float(beta[0]), float(beta[1])
