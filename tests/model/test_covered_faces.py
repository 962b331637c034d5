"""Masks, darkness and emoji with the shipped weights, at the bars of the issue 'What trying it brought up', A11.

The photos are those of `python -m model.evaluate covered`, 40 of each kind; all of it takes about seven seconds.
"""

import numpy as np
import pytest

from model.datasets import emoji
from model.evaluate import covered, helen
from model.evaluate.run import Run
from model.runtime.pipeline import Analyzer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run() -> Run:
    return Run(Analyzer())


@pytest.mark.parametrize(("change", "least"), [("masked", 35), ("dimmed", 30)])
def test_masked_and_dim_faces_are_found(run: Run, change: str, least: int) -> None:
    try:
        samples = helen.test_samples(run)
    except FileNotFoundError as missing:
        pytest.skip(str(missing))
    chosen = [samples[i * len(samples) // covered.COUNT] for i in range(covered.COUNT)]
    found = covered.found_faces(run, chosen, covered.CHANGES[change])
    assert sum(found) >= least
    assert len(found) == covered.COUNT


@pytest.mark.skipif(not emoji.COLOUR.is_file(), reason="the emoji font is not installed")
def test_emoji_are_no_people(run: Run) -> None:
    photos = [covered.emoji_photo(character) for character in covered.emoji_characters()]
    taken = [len(faces) > 0 for faces in run.analyzer.analyze(photos)]
    assert len(taken) == covered.COUNT
    assert np.sum(taken) <= 4
