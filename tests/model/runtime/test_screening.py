"""Screening: where placements put regions, what is dropped, one region a face; the pipeline with a drawn network."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch

from model import boxes, checkpoint, landmarks, warps
from model.halvings import Halvings
from model.runtime import first_pass
from model.runtime.detections import CONTAINED, Detections, best_of_each_face
from model.runtime.engines.pytorch import TorchEngine
from model.runtime.first_pass import GLANCE_SHARE
from model.runtime.limits import LOW_SCORE
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.runtime.proposals import Offer
from model.runtime.screening import (
    DOUBTFUL_PER_IMAGE,
    FAINT_PER_IMAGE,
    SIZE,
    Regions,
    beside_faces,
    doubtful,
    first_of_each_image,
    one_a_face,
    screened,
    without_face,
)
from model.screening_network import ScreeningNetwork, read_screening
from model.structures import Proposals
from model.training.train_screening import placements


def regions(centres: list[tuple[float, float]], sides: list[float], turns: list[float]) -> Regions:
    squares = boxes.around(np.array(centres, np.float32), np.array(sides, np.float32)[:, None])
    count = len(sides)
    return Regions(np.zeros(count, np.int64), squares, np.array(turns, np.float32), np.linspace(0.9, 0.5, count))


def proposals(*squares: tuple[float, float, float, float]) -> Proposals:
    count = len(squares)
    return Proposals(np.zeros(count, np.int64), np.array(squares, np.float32).reshape(-1, 4), np.full(count, 0.5))


def test_a_placement_moves_turns_and_resizes_a_region():
    moved = regions([(100, 100)], [50], [0]).moved(np.array([[0.2, -0.1, np.log(2), 30.0]], np.float32))
    np.testing.assert_allclose(boxes.centres(moved.boxes), [[110, 95]], atol=1e-4)
    np.testing.assert_allclose(boxes.sides(moved.boxes), [[100, 100]], atol=1e-3)
    assert moved.turns.tolist() == [30]


def test_the_shift_of_a_turned_region_is_turned_with_it():
    """A region turned by 90° clockwise: what is on its right lies below it in the image."""
    moved = regions([(100, 100)], [50], [90]).moved(np.array([[0.2, 0.0, 0.0, 100.0]], np.float32))
    np.testing.assert_allclose(boxes.centres(moved.boxes), [[100, 110]], atol=1e-4)
    assert moved.turns.tolist() == [-170]


@pytest.mark.parametrize("turn", [0.0, 40.0, 180.0])
def test_the_placement_of_marked_landmarks_is_the_next_region(turn: float):
    """What training aims at and what the pipeline makes of it: the upright region of the face's landmarks."""
    seen = regions([(90, 120)], [80], [0])
    points = (landmarks.CANONICAL[None] - 0.5) * 70 @ boxes.rotations(np.array([turn])).transpose(0, 2, 1) + (100, 110)
    pose = torch.tensor([[np.deg2rad(turn), 0.0, 0.0]])
    in_region = torch.from_numpy((points - boxes.centres(seen.boxes)[:, None]) / 80).float()
    x, y, side, sine, cosine = placements(in_region, pose)[0].tolist()
    moved = seen.moved(np.array([[x, y, side, np.rad2deg(np.arctan2(sine, cosine))]], np.float32))
    np.testing.assert_allclose(moved.boxes, boxes.upright(points, np.array([turn])), atol=1e-2)
    assert abs((float(moved.turns[0]) - turn + 180) % 360 - 180) < 1e-3


def test_the_best_region_of_each_face_stays():
    close = regions([(50, 50), (52, 50), (150, 50), (50, 51)], [40, 42, 40, 38], [0, 0, 0, 0])
    likelihood = np.array([0.9, 0.8, 0.7, 0.95])
    assert boxes.centres(one_a_face(close[:3], likelihood[:3]).boxes)[:, 0].tolist() == [50, 150]
    best = one_a_face(close, likelihood)
    assert boxes.centres(best.boxes).tolist() == [[50, 51], [150, 50]]
    elsewhere = dataclasses.replace(close, image_index=np.array([0, 1, 0, 1]))
    assert one_a_face(elsewhere, likelihood).image_index.tolist() == [0, 0, 1]
    assert len(one_a_face(close[:0], likelihood[:0])) == 0


def test_a_poor_proposal_needs_a_better_screening():
    def screen(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(crops), 0.3, np.float32), np.zeros((len(crops), 4), np.float32)

    offered = dataclasses.replace(proposals((0, 0, 40, 40), (50, 50, 90, 90)), scores=np.array([0.9, 0.1]))
    left, scores = screened(screen, [Halvings(np.zeros((90, 90, 3), np.uint8))], offered)
    assert left.scores.tolist() == [0.9]
    np.testing.assert_allclose(scores, [0.3, 0.3])


def test_what_is_no_face_is_dropped_and_the_rest_seen_again_where_it_lies():
    seen = []

    def screen(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Dark crops are no faces; others lie a tenth to the right."""
        seen.append(len(crops))
        assert crops.shape[1:] == (SIZE, SIZE, 3)
        scores = (crops.mean(axis=(1, 2, 3)) > 100).astype(np.float32)
        return scores, np.tile(np.array([0.1, 0, 0, 5], np.float32), (len(crops), 1))

    image = np.full((200, 300, 3), 200, np.uint8)
    image[:, 150:] = 0
    left, scores = screened(
        screen, [Halvings(image)], proposals((20, 20, 60, 60), (220, 20, 260, 60), (40, 100, 100, 160))
    )
    assert seen == [3, 2]
    assert scores.tolist() == [1, 0, 1]
    assert left.turns.tolist() == [10, 10]
    assert sorted(boxes.centres(left.boxes)[:, 0].tolist()) == pytest.approx([48, 82], abs=0.2)


def test_no_proposals_are_no_regions():
    def screen(_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise AssertionError("there is nothing to look at")

    image = np.zeros((50, 50, 3), np.uint8)
    assert [len(part) for part in screened(screen, [Halvings(image)], proposals())] == [0, 0]
    assert len(doubtful(screen, [Halvings(image)], proposals())) == 0


def test_where_no_face_is_sure_the_most_facelike_candidates_are_looked_at_as_they_are():
    """Brighter is more like a face, whatever the proposer said; black is none. Placements play no part."""

    def screen(crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return crops.mean(axis=(1, 2, 3)) / 255, np.full((len(crops), 4), np.nan, np.float32)

    image = np.zeros((100, 900, 3), np.uint8)
    levels = [0, 60, 220, 100, 140, 180, 20, 240, 80]
    for number, level in enumerate(levels):
        image[:, 100 * number : 100 * (number + 1)] = level
    offered = proposals(*[(100 * number + 20, 20, 100 * number + 80, 80) for number in range(len(levels))])
    chosen = doubtful(
        screen, [Halvings(image[:, :200]), Halvings(image)], dataclasses.replace(offered, image_index=np.full(9, 1))
    )
    assert chosen.image_index.tolist() == [1] * DOUBTFUL_PER_IMAGE
    brightest = sorted(range(len(levels)), key=lambda number: -levels[number])[:DOUBTFUL_PER_IMAGE]
    np.testing.assert_array_equal(chosen.boxes, offered.boxes[brightest])
    two = dataclasses.replace(offered[:3], image_index=np.array([0, 0, 1]))
    assert doubtful(screen, [Halvings(image)] * 2, two).boxes.tolist() == two.boxes[1:].tolist()


def test_placements_without_extent_are_no_regions():
    odd = np.array([[np.nan, 0, 0, 0], [0, 0, 1000, 0], [0, 0, 0, 0]], np.float32)
    with np.errstate(over="ignore"):
        left, _ = screened(
            lambda crops: (np.ones(len(crops), np.float32), odd[-len(crops) :]),
            [Halvings(np.zeros((90, 90, 3), np.uint8))],
            proposals((0, 0, 20, 20), (30, 30, 50, 50), (60, 60, 80, 80)),
        )
    assert boxes.centres(left.boxes).tolist() == [[70, 70]]


def test_outputs_are_read_as_scores_and_placements():
    outputs = torch.tensor([[0.0, 0.1, -0.2, 0.3, 1.0, 0.0], [20.0, 0, 0, 0, 0.0, -2.0]])
    scores, placed = read_screening(outputs)
    assert scores.tolist() == pytest.approx([0.5, 1.0])
    np.testing.assert_allclose(placed, [[0.1, -0.2, 0.3, 90], [0, 0, 0, 180]], atol=1e-4)


# --- in the pipeline ---

LOW = np.array([LOW_SCORE])


@pytest.fixture(scope="module")
def drawn_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a random screening network that takes everything for a face, nearly upright."""
    torch.manual_seed(1)
    network = ScreeningNetwork()
    with torch.no_grad():
        network.out.weight.mul_(0.1)
        network.out.bias.copy_(torch.tensor([5.0, 0.05, 0.0, 0.0, 0.0, 1.0]))
    loaded = checkpoint.load(tiny_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals")}
    path = tmp_path_factory.mktemp("screening") / "drawn.safetensors"
    checkpoint.save(path, parts | {"screening": network.state_dict()}, loaded.config)
    return path


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return skimage.data.astronaut()[70:150, 180:270]


def test_the_first_look_is_at_the_screened_regions(drawn_checkpoint: Path, photo: np.ndarray):
    analyzer = Analyzer(AnalyzerConfig(weights=drawn_checkpoint, engine="torch"))
    assert analyzer.engine.screens
    offered = analyzer.propose(photo)
    expected, _ = screened(analyzer.engine.screen, [Halvings(photo)], offered)
    looked = analyzer.first_pass.detect([photo], expected.image_index, expected.boxes, expected.turns)
    faces = best_of_each_face(looked, 1, CONTAINED)
    seen = analyzer.first_pass.look([photo], Offer(offered, offered), LOW)[: len(faces)]
    assert 0 < len(seen) <= len(expected) <= len(offered)
    np.testing.assert_array_equal(seen.regions, faces.regions)
    np.testing.assert_array_equal(seen.turns, faces.turns)
    assert len(analyzer.analyze([photo])[0]) > 0


@pytest.mark.parametrize(("logit", "looks"), [(-3.0, DOUBTFUL_PER_IMAGE), (-30.0, 0)])
def test_a_photo_in_which_screening_places_no_face_is_looked_at_as_it_was_offered(
    drawn_checkpoint: Path, tmp_path: Path, photo: np.ndarray, logit: float, looks: int
):
    """At a logit of -3 nothing is placed, yet all is more like a face than DOUBTFUL_SCORE; at -30 nothing is."""
    loaded = checkpoint.load(drawn_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals", "screening")}
    parts["screening"]["out.bias"][0] = logit
    checkpoint.save(tmp_path / "strict.safetensors", parts, loaded.config)
    strict = Analyzer(AnalyzerConfig(weights=tmp_path / "strict.safetensors", engine="torch"))
    offered = strict.propose(photo)[:FAINT_PER_IMAGE]
    assert len(offered) > DOUBTFUL_PER_IMAGE
    seen = strict.first_pass.look([photo], Offer(offered, offered), LOW)
    assert len(seen) == looks
    assert {tuple(region) for region in seen.regions} <= {tuple(box) for box in offered.boxes}
    assert (seen.turns == 0).all()


def test_faint_candidates_are_looked_at_where_no_face_is_sure(drawn_checkpoint: Path, photo: np.ndarray):
    analyzer = Analyzer(AnalyzerConfig(weights=drawn_checkpoint, engine="torch"))
    offered = analyzer.propose(photo)[:FAINT_PER_IMAGE]
    seen = analyzer.first_pass.look([photo], Offer(offered[:0], offered), LOW)
    assert 0 < len(seen) <= DOUBTFUL_PER_IMAGE
    assert {tuple(region) for region in seen.regions} <= {tuple(box) for box in offered.boxes}


def test_what_a_glance_takes_for_no_face_is_not_looked_at(
    drawn_checkpoint: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    analyzer = Analyzer(AnalyzerConfig(weights=drawn_checkpoint, engine="torch"))
    offered = analyzer.propose(photo)[:FAINT_PER_IMAGE]
    every = analyzer.first_pass.look([photo], Offer(offered[:0], offered), LOW)
    assert len(every) >= 2
    monkeypatch.setattr(first_pass, "GLANCE_FROM", 2)
    least = GLANCE_SHARE * LOW_SCORE
    monkeypatch.setattr(TorchEngine, "glances", True)
    monkeypatch.setattr(
        TorchEngine, "glance", lambda _, crops: np.where(np.arange(len(crops)) == 1, least, 0.9 * least)
    )
    [left] = analyzer.first_pass.look([photo], Offer(offered[:0], offered), LOW).regions
    assert left.tolist() == every.regions[1].tolist()
    assert len(analyzer.first_pass.look([photo], Offer(offered[:0], offered), 0 * LOW)) == len(every)


def test_photos_with_a_sure_face_are_not_searched_again():
    proposals = Proposals(np.array([0, 0, 1, 2]), np.zeros((4, 4), np.float32), np.full(4, 0.15, np.float32))
    none = Detections.none()
    sure = Detections(
        np.array([0, 1]),
        np.zeros((2, 4), np.float32),
        np.array([0.985, 0.97], np.float32),
        *(np.zeros((2, *part.shape[1:]), np.float32) for part in (none.landmarks, none.visibility, none.pose)),
        *(np.zeros((2, *part.shape[1:]), np.float32) for part in (none.regions, none.turns)),
    )
    assert without_face(proposals, sure).image_index.tolist() == [1, 2]
    assert len(without_face(proposals, none)) == 4


def test_what_lies_beside_sure_faces_and_is_about_as_large():
    none = Detections.none()
    sure = Detections(
        np.array([0]),
        np.array([[100, 100, 200, 200]], np.float32),
        np.array([0.99], np.float32),
        *(np.zeros((1, *part.shape[1:]), np.float32) for part in (none.landmarks, none.visibility, none.pose)),
        *(np.zeros((1, *part.shape[1:]), np.float32) for part in (none.regions, none.turns)),
    )
    offered = proposals((210, 100, 300, 190), (150, 100, 260, 210), (300, 300, 330, 330), (20, 20, 400, 400))
    assert beside_faces(offered, sure).boxes.tolist() == [[210, 100, 300, 190]]
    elsewhere = dataclasses.replace(offered, image_index=np.full(4, 1))
    assert len(beside_faces(elsewhere, sure)) == len(beside_faces(offered, none)) == 0


def test_the_first_candidates_of_each_image():
    proposals = Proposals(
        np.array([0, 0, 0, 2, 2]), np.zeros((5, 4), np.float32), np.array([5, 4, 3, 2, 1], np.float32)
    )
    assert first_of_each_image(proposals, 2).scores.tolist() == [5, 4, 2, 1]
    assert len(first_of_each_image(proposals[:0], 2)) == 0


def test_a_checkpoint_without_one_is_looked_at_as_before(tiny_checkpoint: Path, photo: np.ndarray):
    analyzer = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="torch"))
    assert not analyzer.engine.screens
    offered = analyzer.propose(photo)
    assert (analyzer.first_pass.look([photo], Offer(offered, offered), LOW).turns == 0).all()


def test_weights_that_do_not_fit(drawn_checkpoint: Path, tmp_path: Path):
    loaded = checkpoint.load(drawn_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals")}
    checkpoint.save(tmp_path / "odd.safetensors", parts | {"screening": {"odd": torch.zeros(1)}}, loaded.config)
    with pytest.raises(checkpoint.CheckpointError, match="screening network's weights do not fit"):
        Analyzer(AnalyzerConfig(weights=tmp_path / "odd.safetensors", engine="torch"))


@pytest.mark.slow  # a conversion takes some five seconds
def test_both_engines_screen_alike(drawn_checkpoint: Path, tmp_path: Path, photo: np.ndarray):
    ours, theirs = (
        Analyzer(AnalyzerConfig(weights=drawn_checkpoint, engine=engine, cache=tmp_path))
        for engine in ("openvino", "torch")
    )
    offered = theirs.propose(photo)
    matrices = warps.region_matrices(offered.boxes, SIZE)
    crops = warps.crop([photo], offered.image_index, matrices, SIZE)
    assert len(crops) > 1
    for found, expected in zip(ours.engine.screen(crops), theirs.engine.screen(crops), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(ours.analyze([photo])[0]) == len(theirs.analyze([photo])[0])
