"""CelebA (Liu et al. 2015), the original archive's 19,962 test photos: gender and smile (section IV-D, Table III).

Scores are means over the proposals that overlap the face (attributes.py). CelebA's own boxes take in hair and neck, and
the network's regions do not: few would overlap them by half. The face's place is therefore our own box, laid over the
five landmarks (regions.canonical_box).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from model.datasets import Sample
from model.datasets.readers import celeba
from model.evaluate import attributes, regions
from model.evaluate.result import Result
from model.evaluate.run import Run


def evaluate(run: Run) -> Result:
    """Raises FileNotFoundError without `celeba`, the original archive."""
    samples = test_samples(run)
    return score(regions.answers(run.analyzer, samples, "celeba"), samples)


def test_samples(run: Run) -> list[Sample]:
    """Return the samples of the test partition, each with its face's box by its landmarks."""
    test = run.some([s for s in celeba.read_archive(run.root("celeba")) if s.split == "test"])
    return [replace(s, box=regions.canonical_box(np.asarray(s.landmarks))) for s in test]


def score(answers: Sequence[regions.Answer | None], samples: Sequence[Sample]) -> Result:
    """Return the protocol's result for the answers about the faces."""
    return attributes.score("celeba-attributes", answers, samples)
