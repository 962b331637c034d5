"""From the model's tensors to the API's faces: covered parts, and which way is up."""

from dataclasses import replace

import numpy as np
import pytest
from msgspec import UNSET

from model.structures import Faces
from service.wire import Options
from service.worker.results import analysis_of


def faces(*rolls: float, side: float = 50) -> Faces:
    """Faces at such angles, all of which is seen."""
    empty = Faces.empty()
    columns = {name: value for name, value in vars(empty).items() if isinstance(value, np.ndarray)}
    found = replace(empty, **{k: np.ones((len(rolls), *v.shape[1:]), np.float32) for k, v in columns.items()})
    found.boxes[:] = 0, 0, side, side
    found.pose[:, 0] = rolls
    return replace(found, seen=len(rolls) + 2)


def test_parts_that_are_not_seen() -> None:
    hidden = {"eyes": range(6, 12), "nose": (13, 14, 15), "mouth": (17, 18, 19)}
    for part, points in hidden.items():
        found = faces(0)
        found.visibility[0, list(points)] = 0.2
        assert analysis_of(found, 100, 100, Options()).faces[0].occluded == (part,)
    profile = faces(0)
    profile.visibility[0, 9:12] = 0.0  # the other eye is seen
    assert analysis_of(profile, 100, 100, Options()).faces[0].occluded == ()
    covered = faces(0)
    covered.visibility[:] = 0.1
    assert analysis_of(covered, 100, 100, Options()).faces[0].occluded == ("eyes", "nose", "mouth")


@pytest.mark.parametrize(
    ("rolls", "turned"),
    [((3, -8), 0), ((95, 80), 90), ((179, -179), 180), ((-88, -100, 0), 270), ((44,), 0), ((46,), 90), ((), None)],
)
def test_which_way_is_up(rolls: tuple[float, ...], turned: int | None) -> None:
    found = faces(*rolls)
    assert analysis_of(found, 100, 100, Options(orientation="auto")).turned == turned
    assert analysis_of(found, 100, 100, Options()).turned is UNSET


def test_all_faces_that_were_seen_are_counted() -> None:
    analysis = analysis_of(faces(0, 0), 100, 100, Options())
    assert (analysis.faces_seen, analysis.more) == (4, True)
