"""Quality falls with what is done to a real face, and says why."""

import cv2
import numpy as np
import pytest
import skimage.data

from model import warps
from model.landmarks import CANONICAL
from model.runtime import quality
from model.structures import Faces

BOX = (174.0, 68.0, 279.0, 180.0)
EYES = {6: (199.5, 112.5), 8: (216.0, 114.0), 9: (236.5, 112.5), 11: (253.0, 109.0)}  # outer, inner, inner, outer
REST = {14: (226.0, 135.5), 17: (206.5, 151.5), 19: (250.5, 148.5)}  # nose tip, mouth corners


def astronaut(scale: float = 1.0, **changes: tuple[float, ...] | float) -> tuple[np.ndarray, Faces]:
    """scikit-image's astronaut with her face marked, both scaled."""
    known = {**EYES, **REST}
    matrix = warps.similarity(CANONICAL[list(known)][None], np.array(list(known.values()), np.float32)[None])
    points = warps.transform(CANONICAL[None], matrix) * np.float32(scale)
    pose = np.array([changes.get("pose", (0.0, 0.0, 0.0))], np.float32)
    visibility = np.full((1, 21), changes.get("visibility", 0.95), np.float32)
    one = np.ones(1, np.float32)
    faces = Faces(np.array([BOX]) * scale, one, points, visibility, pose, one, one, one * 30, np.ones((1, 512)))
    image = skimage.data.astronaut()
    if scale != 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image, faces


def assess(image: np.ndarray, faces: Faces) -> quality.Quality:
    """The one face's quality."""
    (found,) = quality.assess(image, faces)
    return found


def test_a_good_portrait_passes():
    found = assess(*astronaut())
    assert found.overall > 0.7
    assert found.reasons() == []


def test_no_faces_no_quality():
    assert quality.assess(skimage.data.astronaut(), Faces.empty()) == []


def test_blur_lowers_sharpness_step_by_step():
    image, faces = astronaut()
    steps = [assess(cv2.GaussianBlur(image, (0, 0), s), faces).sharpness for s in (0.8, 1.5, 2.5, 4.0)]
    assert steps == sorted(steps, reverse=True)
    blurred = assess(cv2.GaussianBlur(image, (0, 0), 4), faces)
    assert blurred.reasons() == ["sharpness: too blurred"]


def test_a_small_face_is_too_small():
    found = assess(*astronaut(0.22))
    assert found.size < quality.GATE
    assert "size: too small" in found.reasons()


@pytest.mark.parametrize("pose", [(0.0, 0.0, 68.0), (0.0, 0.0, -68.0), (0.0, 55.0, 0.0), (85.0, 0.0, 0.0)])
def test_a_face_turned_away_is_refused_whatever_the_side(pose):
    assert assess(*astronaut(pose=pose)).reasons() == ["pose: turned too far away"]


@pytest.mark.parametrize(
    "change",
    [lambda image: image // 8, lambda image: 245 + image // 26, lambda image: np.full_like(image, 120)],
    ids=["dark", "bright", "flat"],
)
def test_bad_light_is_refused(change):
    image, faces = astronaut()
    found = assess(change(image), faces)
    assert found.exposure < quality.GATE
    assert any(reason.startswith("exposure") for reason in found.reasons())


def test_a_hidden_face_is_refused():
    assert assess(*astronaut(visibility=0.1)).reasons() == ["visibility: too much is hidden"]


def test_the_whole_is_the_worst_part_and_reasons_come_worst_first():
    found = quality.Quality(sharpness=0.2, size=0.9, pose=0.1, exposure=1.0, visibility=0.5)
    assert found.overall == 0.1
    assert [reason.split(":")[0] for reason in found.reasons()] == ["pose", "sharpness"]
    assert found.reasons(gate=0.05) == []
