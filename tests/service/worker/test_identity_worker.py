"""A real network with a projection and a calibration: what the worker delivers, and a whole enrolment over it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint
from model.identity import comparison as identity
from model.identity import triplets
from model.identity.age_range import AgeRanges
from model.identity.projection import PART, LearnedProjection
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from service.config import Settings
from service.headers import read_header
from service.images import decode
from service.schemas.probes import Template
from service.worker.loop import Worker, running
from service.worker.results import load_analyzer
from tests.conftest import write_tiny_checkpoint
from tests.service.gallery.served import calibration
from tests.service.serving import Served, serve, until

pytestmark = pytest.mark.slow

DIMENSION = 24


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint that is sure of its faces, joined with the two parts by the command that ships them."""
    folder = tmp_path_factory.mktemp("identity")
    generator = torch.Generator().manual_seed(0)
    projection = LearnedProjection(
        torch.randn(DIMENSION, 512, generator=generator).numpy(), np.full(512, 0.01, np.float32)
    )
    checkpoint.save(folder / "tpe.safetensors", {PART: triplets.part_of(projection)}, {PART: {}})
    told = calibration().as_dict() | {"score": "tpe"}
    ranges = AgeRanges(0.8, (30.0,), (-7.5,), (5.0,), 100)
    checkpoint.save(folder / "calibration.safetensors", {}, {"calibration": told, "age_ranges": ranges.as_dict()})
    tiny = checkpoint.load(write_tiny_checkpoint(folder / "tiny.safetensors", face_logit=10.0))
    proposals = tiny.part("proposals")
    proposals["out.bias"][0] = 3.0  # everything may be a face
    checkpoint.save(folder / "sure.safetensors", {"network": tiny.part("network"), "proposals": proposals}, tiny.config)
    parts = [folder / "sure.safetensors", folder / "tpe.safetensors", folder / "calibration.safetensors"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["checkpoint", *map(str, parts), "--out", str(folder / "joined.safetensors")])
        checkpoint.main()
    return folder / "joined.safetensors"


@pytest.fixture(scope="module")
def served(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    settings = Settings(engine="torch", weights=weights, data_dir=tmp_path_factory.mktemp("data"), timeout=100)
    with (
        serve(settings) as served,
        running(Worker(served.broker, load_analyzer(settings), settings, served.metrics), 30),
    ):
        until(lambda: served.client.get("/readyz").status_code == 200, 60)
        yield served


def test_the_embedding_of_a_checkpoint(weights: Path, tiny_checkpoint: Path):
    found = identity.of(checkpoint.load(weights))
    part = checkpoint.load(weights).part("tpe")
    assert (found.score, found.dimension) == ("tpe", DIMENSION)
    assert found.calibration is not None
    assert found.calibration.thresholds == calibration().thresholds
    descriptors = torch.nn.functional.normalize(torch.randn(5, 512, generator=torch.Generator().manual_seed(1)), dim=1)
    expected = (descriptors - part["mean"]) @ part["weight"].T
    np.testing.assert_allclose(found.vectors(descriptors), expected.numpy(), atol=1e-5)
    plain = identity.of(checkpoint.load(tiny_checkpoint))
    assert (plain.score, plain.dimension, plain.calibration) == ("cosine", 512, None)
    np.testing.assert_array_equal(plain.vectors(descriptors), descriptors.numpy())


def test_an_own_calibration_is_for_its_model_only(weights: Path, tiny_checkpoint: Path, tmp_path: Path):
    loaded = checkpoint.load(tiny_checkpoint)
    path = tmp_path / "own.json"
    identity.write_calibration(path, loaded.digest, calibration())
    assert identity.of(loaded, path).calibration == calibration()
    load_analyzer(Settings(weights=tiny_checkpoint, calibration=path, engine="torch"))
    with pytest.raises(ValueError, match="calibration of model"):
        load_analyzer(Settings(weights=weights, calibration=path, engine="torch"))
    with pytest.raises(FileNotFoundError):
        identity.of(loaded, tmp_path / "none.json")
    for text in ("", "[]", "{}", json.dumps({"model": loaded.digest, "calibration": {}})):
        path.write_text(text)
        with pytest.raises(ValueError, match="calibration"):
            identity.of(loaded, path)
    identity.write_calibration(path, checkpoint.load(weights).digest, calibration())
    with pytest.raises(ValueError, match="score"):
        identity.of(checkpoint.load(weights), path)


def test_a_template_is_what_the_model_makes_of_the_face(served: Served, weights: Path, astronaut_png: bytes):
    told = served.client.get("/v1/model").json()["info"]["identity"]
    assert (told["score"], told["dimension"]) == ("tpe", DIMENSION)
    answer = served.client.post("/v1/templates", content=astronaut_png).json()
    photo = decode(astronaut_png, read_header(astronaut_png, 1 << 30, 1 << 30))
    faces = Analyzer(AnalyzerConfig(weights, engine="torch")).analyze([photo])[0]
    expected = identity.of(checkpoint.load(weights)).vectors(faces.descriptor)[0]
    numbers = Template(**answer["template"]).numbers()
    np.testing.assert_allclose(numbers, expected / np.linalg.norm(expected), atol=1e-4)
    assert 0 <= answer["faces"][0]["quality"]["overall"] <= 1
    assert set(answer["faces"][0]["quality"]) == {
        "overall", "sharpness", "size", "pose", "exposure", "visibility", "reasons",
    }  # fmt: skip


def test_each_age_has_its_range(served: Served, astronaut_png: bytes):
    face = served.client.post("/v1/faces?max_faces=1", content=astronaut_png).json()["faces"][0]
    low, high = max(face["age"] - 5, 0), face["age"] + 7.5
    assert face["age_range"] == {"low": pytest.approx(low, abs=0.11), "high": pytest.approx(high, abs=0.11)}


def test_a_whole_enrolment(served: Served, astronaut_png: bytes):
    client, url = served.client, "/v1/collections/staff/subjects/ada"
    assert client.put("/v1/collections/staff").json()["dimension"] == DIMENSION
    added = client.post(f"{url}/media?create=true&min_quality=0&face=largest", content=astronaut_png)
    assert added.status_code == 200, added.text
    same = client.post(f"{url}/verify", content=astronaut_png).json()
    assert same["matched"]
    assert same["similarity"] == pytest.approx(1, abs=1e-4)
    assert same["score"] == "tpe"
    assert client.post("/v1/collections/staff/search", content=astronaut_png).json()["matches"][0]["matched"]
