"""Which glasses hide the eyes: the astronaut with lenses drawn over her eyes, from clear to black."""

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from model.datasets import Sample, sunglasses

ASTRONAUT = skimage.data.astronaut()
LANDMARKS = np.array(
    [
        *[(187, 91), (200, 86), (218, 89), (236, 90), (254, 90), (265, 97)],
        *[(196, 101), (204, 101), (214, 103), (238, 105), (248, 104), (256, 105)],
        *[(178, 111), (212, 130), (225, 125), (236, 131), (271, 117)],
        *[(201, 140), (224, 147), (246, 142), (222, 177)],
    ],
    np.float32,
)
EYES = list(sunglasses.EYES)
BROWS = list(sunglasses.BROWS)


def sample(glasses: float = 1.0) -> Sample:
    return Sample(
        "drawn",
        "astronaut",
        Path("astronaut"),
        "train",
        landmarks=LANDMARKS,
        visibility=np.ones(21, np.float32),
        glasses=glasses,
    )


def with_lenses(tint: float) -> np.ndarray:
    """The astronaut, what is around her eyes multiplied by the tint."""
    dark = np.zeros(ASTRONAUT.shape[:2], np.float32)
    for eye in (7, 10):
        centre = tuple(int(value) for value in LANDMARKS[eye])
        cv2.ellipse(dark, centre, (20, 14), 0, 0, 360, 1, -1)
    return (ASTRONAUT * (1 - (1 - tint) * dark[..., None])).astype(np.uint8)


def test_lenses_are_as_bright_as_they_are_tinted():
    bare = sunglasses.lens_brightness(ASTRONAUT, LANDMARKS)
    assert sunglasses.CLEAR < bare < 1.2
    half = sunglasses.lens_brightness(with_lenses(0.5), LANDMARKS)
    assert half == pytest.approx(bare / 2, rel=0.05)
    assert sunglasses.lens_brightness(with_lenses(0.0), LANDMARKS) < 0.05


@pytest.mark.parametrize(("tint", "eyes", "brows"), [(1.0, 1.0, 1.0), (0.6, math.nan, math.nan), (0.2, 0.0, math.nan)])
def test_dark_glasses_hide_the_eyes_and_tinted_ones_may(tint, eyes, brows):
    labelled = sunglasses.labelled(sample(), with_lenses(tint))
    assert labelled.visibility is not None
    np.testing.assert_array_equal(labelled.visibility[EYES], eyes)
    np.testing.assert_array_equal(labelled.visibility[BROWS], brows)
    assert (np.delete(labelled.visibility, EYES + BROWS) == 1).all()
    assert sunglasses.hides_eyes(labelled) == (eyes == 0.0)


@pytest.mark.parametrize("glasses", [0.0, math.nan])
def test_who_wears_no_glasses_keeps_the_labels(glasses):
    bare = sample(glasses)
    assert sunglasses.labelled(bare, with_lenses(0.0)) is bare
    assert not sunglasses.hides_eyes(bare)


def test_without_landmarks_or_visibility_nothing_changes():
    points = LANDMARKS.copy()
    points[3] = math.nan
    for lacking in (replace(sample(), landmarks=None), replace(sample(), landmarks=points)):
        assert sunglasses.labelled(lacking, with_lenses(0.0)) is lacking
    unlabelled = replace(sample(), visibility=None)
    assert sunglasses.labelled(unlabelled, with_lenses(0.0)) is unlabelled
    assert not sunglasses.hides_eyes(unlabelled)


def test_a_face_at_the_edge_of_its_photo_is_measured_too():
    aside = LANDMARKS - (190, 90)
    cut = ASTRONAUT[90:, 190:]
    assert 0 < sunglasses.lens_brightness(cut, aside) < 2
