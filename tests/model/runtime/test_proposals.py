"""The dense proposer's arithmetic against loops, its pyramid for odd images, Selective Search on a real photo."""

import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import torch

from model import boxes as boxes_
from model.proposal_network import ProposalNetwork, cell_centres
from model.runtime.proposals import (
    LIKELY,
    UNIT,
    DenseProposer,
    SelectiveSearchProposer,
    decode,
    merged,
)
from model.runtime.pyramid import (
    MARGIN,
    MAX_PIXELS,
    SIZES,
    STRIDE,
    TILE,
    Level,
    pyramid,
    searched_min_size,
)
from model.training.train_proposals import CANVAS, proposal_loss, target_map


@pytest.fixture(scope="module")
def proposer():
    torch.manual_seed(0)
    network = ProposalNetwork()
    with torch.no_grad():
        network.out.bias[0] = 0.0  # about half of the cells say face
    return DenseProposer(maps_of(network))


def maps_of(network):
    """What an engine's propose() is: batches of levels to the network's outputs."""

    @torch.inference_mode()
    def maps(batches):
        return [network(torch.from_numpy(batch).permute(0, 3, 1, 2)).numpy() for batch in batches]

    return maps


def level(**changes):
    return Level(0, changes.pop("scale", 1.0), np.zeros((8, 8, 3), np.uint8), **changes)


def propose(proposer, images, min_sizes=None):
    offer = proposer.propose(images, min_sizes or [None] * len(images))
    return offer.with_smallest(offer.every[offer.every.scores >= LIKELY])


# --- network and decoding ---


@torch.inference_mode()
@pytest.mark.parametrize("size", [(32, 32), (64, 160), (8, 8)])
def test_the_network_has_stride_8(size):
    network = ProposalNetwork()
    assert network(torch.zeros(2, 3, *size)).shape == (2, 4, size[0] // STRIDE, size[1] // STRIDE)
    assert sum(parameter.numel() for parameter in network.parameters()) < 0.15e6


def test_decoding_is_what_a_loop_finds():
    output = np.random.default_rng(0).normal(0, 2, (4, 3, 5)).astype(np.float32)
    scores, boxes = decode(output, level(scale=0.5, x=16, y=24), 0.3)
    found = iter(zip(scores.tolist(), boxes.tolist(), strict=True))
    for row in range(3):
        for column in range(5):
            logit, dx, dy, log_side = output[:, row, column].tolist()
            if 1 / (1 + math.exp(-logit)) < 0.3:
                continue
            x, y = 8 * column + 4 + UNIT * dx + 16, 8 * row + 4 + UNIT * dy + 24
            half = UNIT * math.exp(min(max(log_side, -2), 2)) / 2
            score, box = next(found)
            assert score == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
            assert box == pytest.approx([2 * (x - half), 2 * (y - half), 2 * (x + half), 2 * (y + half)], abs=1e-2)
    assert next(found, None) is None


def test_a_tile_decodes_only_its_own_cells():
    output = np.zeros((4, 6, 6), np.float32)
    _, boxes = decode(output, level(rows=(1, 3), columns=(2, 5)), 0.4)
    centres = boxes_.centres(boxes)
    assert sorted({y for _, y in centres.tolist()}) == [12, 20]
    assert sorted({x for x, _ in centres.tolist()}) == [20, 28, 36]


def test_cell_centres():
    centres = cell_centres(2, 3)
    assert centres.shape == (2, 3, 2)
    assert centres[1, 2].tolist() == [20, 12]


# --- training targets ---


def test_without_faces_every_cell_is_background():
    assert not target_map(np.zeros((0, 4), np.float32)).any()


@pytest.mark.parametrize("side", [20, 27, 40, 56])
def test_a_face_of_the_level_can_be_decoded_from_its_positive_cells(side):
    box = np.array([[60.5, 70.0, 60.5 + side, 70.0 + side]], np.float32)
    target = target_map(box)
    positive = target[0] == 1
    assert 1 <= positive.sum() <= 12
    logits = target.numpy().copy()
    logits[0] = np.where(positive, 9.0, -9.0)
    _, found = decode(logits, level(), 0.5)
    np.testing.assert_allclose(found, np.repeat(box, len(found), axis=0), atol=1e-3)
    ring = target[0].isnan()
    assert ring.any()
    # Far from the face there is background, and the whole map is one of the three.
    assert target[0, 0, 0] == 0
    assert (positive | ring | (target[0] == 0)).all()


@pytest.mark.parametrize("side", [10.0, 18.0, 60.0, 75.0])
def test_a_face_of_a_neighbouring_octave_is_ignored(side):
    target = target_map(np.array([[50, 50, 50 + side, 50 + side]], np.float32))
    assert not (target[0] == 1).any()
    assert target[0].isnan().any()


def test_a_face_too_large_for_the_level_is_background():
    side = SIZES[1] * 1.5
    assert not target_map(np.array([[40, 40, 40 + side, 40 + side]], np.float32)).any()


def test_the_loss_of_the_right_answer_is_almost_nothing():
    target = target_map(np.array([[60, 60, 100, 100]], np.float32))[None]
    right = target.clone()
    right[:, 0] = torch.where(target[:, 0] == 1, 12.0, -12.0)
    scores, boxes = proposal_loss(right, target)
    assert scores.item() == pytest.approx(0, abs=1e-4)
    assert boxes.item() == 0
    wrong = right.clone()
    wrong[:, 0] *= -1
    wrong[:, 1] += 0.5
    scores, boxes = proposal_loss(wrong, target)
    assert scores.item() > 10
    assert boxes.item() == pytest.approx(0.5 - 0.025, rel=1e-4)  # smooth L1, β .05
    ignored = right.clone()
    ignored[:, 0][target[:, 0].isnan()] = 50.0
    assert proposal_loss(ignored, target)[0].item() == pytest.approx(0, abs=1e-4)
    assert target.shape == (1, 4, CANVAS // STRIDE, CANVAS // STRIDE)


# --- the pyramid ---


def levels(height, width, min_size=None):
    return list(pyramid(np.zeros((height, width, 3), np.uint8), min_size))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (31, 33), (480, 640), (24, 24)])
def test_levels_halve_and_are_padded(height, width):
    made = levels(height, width, 24)
    scales = [level.scale for level in made]
    assert scales[0] == 1
    assert all(b == a / 2 for a, b in pairwise(scales))
    for level in made:
        assert level.pixels.shape[0] % 32 == level.pixels.shape[1] % 32 == 0
        assert -1 <= level.pixels.shape[0] - height * level.scale <= 32
        assert -1 <= level.pixels.shape[1] - width * level.scale <= 32


def test_every_face_from_the_searched_size_up_has_its_level():
    cases = ((480, 640, None), (480, 640, 60), (2000, 3000, 50), (1200, 1200, None), (120, 160, None), (480, 640, 12))
    for height, width, least in cases:
        scales = [level.scale for level in levels(height, width, least)]
        smallest = searched_min_size(np.zeros((height, width, 3), np.uint8), least)
        for side in np.geomspace(smallest, min(height, width), 20):
            assert any(SIZES[0] <= side * scale <= SIZES[1] for scale in scales), side


@pytest.mark.parametrize(
    ("height", "width", "min_size", "scale"),
    [
        (240, 320, None, 2), (375, 500, None, 1.28), (480, 640, None, 1), (512, 512, None, 1), (150, 150, None, 2),
        (240, 320, 24, 1), (240, 320, 16, 1.5), (1080, 1920, 12, 2), (1080, 1920, 4, 2), (2048, 2048, 12, 2**0.5),
        (3000, 4000, 12, 1), (240, 320, 48, 0.5),
    ],
)  # fmt: skip
def test_small_images_and_small_faces_are_enlarged(height, width, min_size, scale):
    first = levels(height, width, min_size)[0]
    assert first.scale == pytest.approx(scale)
    assert searched_min_size(np.zeros((height, width, 3), np.uint8), min_size) == pytest.approx(24 / scale)


def test_an_enlarged_level_leaves_larger_faces_to_those_that_would_be_there_without_it():
    made, without = levels(240, 320), levels(240, 320, 24)
    assert [level.scale for level in made] == [2, *(level.scale for level in without)]
    assert [level.largest for level in made] == [24, *(math.inf for _ in without)]
    for with_it, alone in zip(made[1:], without, strict=True):
        np.testing.assert_array_equal(with_it.pixels, alone.pixels)
    output = np.zeros((4, 30, 40), np.float32)
    output[3] = np.linspace(-1, 1, 40)
    scores, boxes = decode(output, made[0], 0.4)
    assert len(scores) == len(boxes) > 0
    assert (boxes[:, 2] - boxes[:, 0]).max() <= 24 < UNIT * math.exp(1) / 2


def test_a_huge_image_is_shrunk_first_unless_a_size_is_asked_for():
    made = levels(8000, 8000)
    assert made[0].pixels.shape[0] * made[0].pixels.shape[1] <= MAX_PIXELS * 1.1
    assert sum(level.pixels.size for level in made) < 10e6
    assert levels(8000, 8000, 24)[0].scale == 1


@pytest.mark.parametrize(("height", "width"), [(2000, 3000), (1024, 4000), (2400, 1030), (9000, 300)])
def test_tiles_cover_each_cell_of_a_large_level_once(height, width):
    tiles = [level for level in levels(height, width, 24) if level.scale == 1]
    assert len(tiles) > 1
    seen = np.zeros((-(-height // STRIDE), -(-width // STRIDE)), int)
    for tile in tiles:
        assert max(tile.pixels.shape[:2]) <= TILE + 2 * MARGIN + 32
        rows, columns = (np.arange(size // STRIDE) for size in tile.pixels.shape[:2])
        rows = rows[slice(*tile.rows)] + tile.y // STRIDE
        columns = columns[slice(*tile.columns)] + tile.x // STRIDE
        rows, columns = rows[rows < seen.shape[0]], columns[columns < seen.shape[1]]
        seen[np.ix_(rows, columns)] += 1
    assert (seen == 1).all()


@pytest.mark.slow
def test_tiles_find_what_the_whole_level_finds(proposer):
    image = np.random.default_rng(3).integers(0, 256, (1100, 2200, 3), dtype=np.uint8)
    whole = propose(proposer, [image[:900]], [24.0])  # not cut
    cut = propose(proposer, [image], [24.0])
    inside = whole.boxes[(whole.boxes[:, 3] < 700) & (whole.scores > np.quantile(whole.scores, 0.9))]
    overlap = boxes_.iou(inside, cut.boxes).max(axis=1)
    assert len(inside) > 10
    assert (overlap > 0.5).mean() > 0.9


def test_large_faces_only_need_small_levels():
    assert levels(480, 640, 96)[0].pixels.shape == (128, 160, 3)


# --- proposing ---


def test_candidates_of_a_face_become_one_box_by_score():
    boxes = np.array([[0, 0, 10, 10], [2, 0, 12, 10], [0, 6, 10, 16], [40, 40, 50, 50]], np.float32)
    keep, found = merged(boxes, np.array([0.6, 0.3, 0.2, 0.5], np.float32))
    assert keep.tolist() == [0, 3, 2]
    # The second overlaps the first by 2/3 and weighs half of it; the third only by a quarter: another face.
    np.testing.assert_allclose(found, [[2 / 3, 0, 32 / 3, 10], [40, 40, 50, 50], [0, 6, 10, 16]], atol=1e-5)


def test_nothing_merges_into_nothing():
    keep, found = merged(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    assert (len(keep), found.shape) == (0, (0, 4))


# --- proposing ---


def test_odd_images_give_proposals_like_any(proposer):
    images = [np.full(shape, 90, np.uint8) for shape in ((1, 1, 3), (1, 700, 3), (700, 1, 3), (40, 30, 3))]
    found = propose(proposer, images)
    assert np.isfinite(found.boxes).all()
    assert set(found.image_index.tolist()) <= {0, 1, 2, 3}


def test_in_a_batch_and_alone(proposer):
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (90, 70), (64, 64), (60, 100)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    together = propose(proposer, images, [24, 30, 48, 24])
    assert together.image_index.tolist() == sorted(together.image_index.tolist())
    for index, (image, least) in enumerate(zip(images, [24, 30, 48, 24], strict=True)):
        alone = propose(proposer, [image], [least])
        mine = together[together.image_index == index]
        assert len(mine) == len(alone) > 0
        np.testing.assert_allclose(mine.boxes, alone.boxes, atol=1e-2, rtol=1e-4)
        np.testing.assert_allclose(mine.scores, alone.scores, atol=1e-4)


def test_best_first_few_and_apart(proposer):
    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    found = propose(proposer, [image], [24])
    assert 0 < len(found) <= proposer.limit
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= LIKELY
    overlap = boxes_.iou(found.boxes, found.boxes)
    np.fill_diagonal(overlap, 0)
    assert overlap.max() <= proposer.overlap + 1e-6


def test_boxes_come_back_in_the_images_pixels():
    """A network that sees a face wherever it is bright, in the middle of its level's octave."""
    network = ProposalNetwork()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.stem[0].weight[0] = 0.05
        network.stem[1].weight.fill_(0.0)  # PReLU without a negative side
        network.down[0].weight[0, 0, 1:, 1:] = 1.0
        network.down[1].weight.fill_(0.0)
        network.out.weight[0, 0] = 1.0
        network.out.bias[0] = -6.0
    image = np.zeros((256, 256, 3), np.uint8)
    image[96:128, 160:192] = 255
    found = propose(DenseProposer(maps_of(network)), [image], [24])
    best = found.boxes[:1]
    assert boxes_.iou(best, np.array([[160.0, 96, 192, 128]]))[0, 0] > 0.4


def test_a_least_size_for_every_image(proposer):
    with pytest.raises(ValueError, match="longer"):
        propose(proposer, [np.zeros((9, 9, 3), np.uint8)], [24.0, 24.0])


# --- Selective Search ---


@pytest.fixture(scope="module")
def searched():
    astronaut = skimage.data.astronaut()
    proposer = SelectiveSearchProposer(side=200)
    return [proposer.propose([astronaut], [24.0]).likely for _ in range(2)]


def test_selective_search_finds_the_face(searched):
    boxes = searched[0].boxes
    assert boxes_.iou(boxes, np.array([[174.0, 70, 279, 178]])).max() > 0.5
    assert np.ptp(boxes_.sides(boxes), axis=1).max() < 1e-2
    assert (boxes[:, 2] - boxes[:, 0]).min() >= 24 * 0.8


def test_selective_search_is_deterministic(searched):
    assert np.array_equal(searched[0].boxes, searched[1].boxes)


def test_selective_search_of_odd_images():
    proposer = SelectiveSearchProposer(limit=3)
    images = [np.zeros((1, 1, 3), np.uint8), np.zeros((4, 900, 3), np.uint8), np.zeros((50, 60, 3), np.uint8)]
    found = proposer.propose([*images, skimage.data.astronaut()[::4, ::4]], [24.0] * 4).every
    assert (found.image_index == 3).sum() == 3
    assert not (found.image_index < 2).any()
    assert found.image_index.dtype == np.int64
