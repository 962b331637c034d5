"""The protocol on glasses that people wear: what counts as worn, and how answers about the eyes are counted."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from model import landmarks
from model.datasets import Sample
from model.evaluate import sunglasses
from model.evaluate.run import Analyzed
from model.structures import Faces
from tests.model.evaluate.test_protocols import POINTS, SIDE, faces

LEFT_EYE = [6, 7, 8]
RIGHT_EYE = [9, 10, 11]


def person(path: Path, glasses: float, tint: float = 1.0) -> Sample:
    """A grey face in a photo, what is around its eyes multiplied by the tint."""
    photo = np.full((SIDE, SIDE, 3), 180, np.uint8)
    for eye in POINTS[[7, 10]]:
        cv2.circle(photo, tuple(int(value) for value in eye), 20, (int(180 * tint),) * 3, -1)
    cv2.imwrite(str(path), photo)
    seen = np.ones(21, np.float32)
    return Sample("celeba_wild", path.name, path, "test", landmarks=POINTS, visibility=seen, glasses=glasses)


def answer(sample: Sample, hidden: list[int]) -> Analyzed:
    visibility = np.ones((1, landmarks.COUNT), np.float32)
    visibility[0, hidden] = 0.2
    return Analyzed(sample, faces(visibility=visibility), SIDE, SIDE)


@pytest.mark.parametrize(
    ("glasses", "tint", "worn"),
    [
        (1, 0.1, "dark glasses"),
        (1, 0.6, None),
        (1, 1.0, "other glasses"),
        (0, 0.1, "no glasses"),
        (math.nan, 0.1, None),
    ],
)
def test_what_is_worn_follows_from_label_and_photo(tmp_path, glasses, tint, worn):
    assert sunglasses.worn(person(tmp_path / "a.png", glasses, tint)) == worn


def test_a_face_that_lacks_a_landmark_is_left_out(tmp_path):
    points = np.asarray(POINTS).copy()
    points[2] = np.nan
    for glasses in (0, 1):
        assert sunglasses.worn(replace(person(tmp_path / "a.png", glasses), landmarks=points)) is None


def test_eyes_are_hidden_when_neither_can_be_seen(tmp_path):
    sample = person(tmp_path / "a.png", 1)
    assert sunglasses.eyes_hidden(answer(sample, LEFT_EYE + RIGHT_EYE)) is True
    assert sunglasses.eyes_hidden(answer(sample, LEFT_EYE)) is False
    assert sunglasses.eyes_hidden(Analyzed(sample, Faces.empty(), SIDE, SIDE)) is None
    elsewhere = Analyzed(sample, faces(POINTS[None] + 90), SIDE, SIDE)
    assert sunglasses.eyes_hidden(elsewhere) is None


def test_shares_by_what_is_worn():
    answers = [("dark glasses", True), ("dark glasses", False), ("dark glasses", None)]
    answers += [("other glasses", False), ("other glasses", False), ("other glasses", True), ("other glasses", False)]
    result = sunglasses.score(answers)
    figures = {figure.name: figure.value for figure in result.figures}
    assert figures["dark_glasses_said_hidden"] == 50
    assert figures["other_glasses_said_visible"] == 75
    assert math.isnan(figures["no_glasses_said_visible"])
    assert result.tables[0].rows[0] == ("dark glasses", 2, 1, 1)
