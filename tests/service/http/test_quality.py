"""`quality=true`: each face of an analysis says how good it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client.client import Client
from service.config import Settings
from service.wire import Analysis, AnalysisRequest, AnalysisResult, Box, FaceResult, Pose, Quality
from tests.service.serving import CARD, MODEL, WORKER, Served, answering, is_problem, serve

EXPECTED = {"sharpness": 0.9, "size": 0.8, "pose": 0.3, "exposure": 1.0, "visibility": 0.7, "overall": 0.3}


def one_face(request: AnalysisRequest) -> AnalysisResult:
    """Return one face, with its quality where the request asks for it."""
    measured = Quality(0.9, 0.8, 0.3, 1.0, 0.7) if request.options.quality else None
    face = FaceResult(Box(1, 1, 2, 2), 0.9, Pose(0, 0, 0), 0.5, "female", 0.9, 30.0, quality=measured)
    return AnalysisResult(request.id, MODEL, Analysis(8, 6, [face]))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serve(Settings(data_dir=tmp_path)) as running, answering(running.broker, one_face):
        running.broker.announce(WORKER, CARD)
        yield running


def test_a_face_says_how_good_it_is_when_asked(served: Served, tiny_png: bytes) -> None:
    (face,) = served.client.post("/v1/faces?quality=true", content=tiny_png).json()["faces"]
    assert face["quality"] == EXPECTED
    assert "vector" not in face


def test_it_says_nothing_unasked(served: Served, tiny_png: bytes) -> None:
    (face,) = served.client.post("/v1/faces", content=tiny_png).json()["faces"]
    assert "quality" not in face


def test_the_option_is_true_or_false(served: Served, tiny_png: bytes) -> None:
    body = is_problem(served.client.post("/v1/faces?quality=good", content=tiny_png), 422, "invalid_request")
    assert "quality" in body["detail"]


def test_jobs_and_the_client_have_it_too(served: Served, tiny_png: bytes) -> None:
    with Client(served.url) as faces:
        quality = faces.analyze(tiny_png, quality=True).faces[0].quality
        assert quality is not None
        assert quality.model_dump() == EXPECTED
        (item,) = faces.wait_for_job(faces.submit_job([tiny_png], quality=True).id, 30).results
    assert item.analysis is not None
    assert item.analysis.faces[0].quality == quality
