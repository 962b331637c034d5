"""ChaLearn Faces of the World (Escalera et al. 2016), validation set: gender and smile (section IV-D, Table III).

Scores are means over the proposals that overlap the marked box (attributes.py); faces whose gender the annotators were
not sure of count for smile alone. The paper fine-tunes the gender and smile branches on the training set first:
recipes/archives/fotw.json, then --weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from model.datasets import Sample
from model.datasets.readers import fotw
from model.evaluate import attributes, regions
from model.evaluate.result import Result
from model.evaluate.run import Run


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `fotw`."""
    samples = run.some([s for s in fotw.read(run.root("fotw")) if s.split == "test"])
    return score(regions.answers(run.analyzer, samples, "fotw"), samples)


def score(answers: Sequence[regions.Answer | None], samples: Sequence[Sample]) -> Result:
    """Return the protocol's result for the answers about the faces."""
    return attributes.score("fotw", answers, samples)
