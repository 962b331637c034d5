"""The dense proposer's arithmetic against loops, its pyramid for odd images, Selective Search on a real photo."""

import math
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
import torch

from model import geometry
from model.proposals import (
    MIN_FACE,
    SIZES,
    STRIDE,
    UNIT,
    DenseProposer,
    ProposalNetwork,
    SelectiveSearchProposer,
    cell_centres,
    decode,
)
from model.train_proposals import CANVAS, proposal_loss, target_map


@pytest.fixture(scope="module")
def proposer():
    torch.manual_seed(0)
    network = ProposalNetwork()
    with torch.no_grad():
        network.out.bias[0] = 0.0  # about half of the cells say face
    return DenseProposer(network)


@torch.inference_mode()
def propose(proposer, images, min_sizes=None):
    return proposer.propose(images, min_sizes or [MIN_FACE] * len(images))


# --- network and decoding ---


@torch.inference_mode()
@pytest.mark.parametrize("size", [(32, 32), (64, 160), (8, 8)])
def test_the_network_has_stride_8(size):
    network = ProposalNetwork()
    assert network(torch.zeros(2, 3, *size)).shape == (2, 4, size[0] // STRIDE, size[1] // STRIDE)
    assert sum(parameter.numel() for parameter in network.parameters()) < 0.15e6


def test_decoding_is_what_a_loop_finds():
    output = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0)) * 2
    scores, boxes = decode(output)
    assert scores.shape == (2, 15)
    assert boxes.shape == (2, 15, 4)
    for image in range(2):
        for row in range(3):
            for column in range(5):
                logit, dx, dy, log_side = output[image, :, row, column].tolist()
                x, y = 8 * column + 4 + UNIT * dx, 8 * row + 4 + UNIT * dy
                half = UNIT * math.exp(min(max(log_side, -2), 2)) / 2
                cell = row * 5 + column
                assert scores[image, cell].item() == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-5)
                assert boxes[image, cell].tolist() == pytest.approx([x - half, y - half, x + half, y + half], abs=1e-3)


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
    _, boxes = decode(target[None])
    found = boxes[0][positive.flatten()]
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


def levels(proposer, height, width, min_size=MIN_FACE):
    return proposer._pyramid(np.zeros((height, width, 3), np.uint8), min_size)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 5000), (5000, 1), (31, 33), (480, 640), (24, 24)])
def test_levels_halve_and_are_padded(proposer, height, width):
    made = levels(proposer, height, width)
    scales = [scale for scale, _ in made]
    assert scales[0] == 1
    assert all(b == a / 2 for a, b in pairwise(scales))
    for scale, image in made:
        assert image.shape[0] % 32 == image.shape[1] % 32 == 0
        assert 0 <= image.shape[0] - round(height * scale) <= 32
        assert 0 <= image.shape[1] - round(width * scale) <= 32


def test_every_face_from_the_least_size_up_has_its_level(proposer):
    for height, width, least in ((480, 640, 24), (480, 640, 60), (2000, 3000, 50), (1200, 1200, 24)):
        scales = [scale for scale, _ in levels(proposer, height, width, least)]
        shrink = min(1, ((1 << 21) / (height * width)) ** 0.5)
        for side in np.geomspace(max(least, MIN_FACE / shrink), min(height, width), 20):
            assert any(SIZES[0] <= side * scale <= SIZES[1] for scale in scales), side


def test_a_huge_image_is_shrunk_first(proposer):
    made = levels(proposer, 8000, 8000)
    assert made[0][1].shape[0] * made[0][1].shape[1] <= (1 << 21) * 1.1
    assert sum(image.size for _, image in made) < 10e6


def test_large_faces_only_need_small_levels(proposer):
    assert levels(proposer, 480, 640, 96)[0][1].shape == (128, 160, 3)


# --- proposing ---


def test_odd_images_give_proposals_like_any(proposer):
    images = [np.full(shape, 90, np.uint8) for shape in ((1, 1, 3), (1, 700, 3), (700, 1, 3), (40, 30, 3))]
    found = propose(proposer, images)
    assert found.boxes.isfinite().all()
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
        torch.testing.assert_close(mine.boxes, alone.boxes, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(mine.scores, alone.scores, atol=1e-4, rtol=0)


def test_best_first_few_and_apart(proposer):
    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    found = propose(proposer, [image])
    assert 0 < len(found) <= proposer.limit
    assert torch.equal(found.scores, found.scores.sort(descending=True).values)
    assert found.scores.min() >= proposer.threshold
    overlap = geometry.box_iou(found.boxes, found.boxes).fill_diagonal_(0)
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
    found = propose(DenseProposer(network, threshold=0.5), [image])
    best = found.boxes[:1]
    assert geometry.box_iou(best, torch.tensor([[160.0, 96, 192, 128]])).item() > 0.4


def test_a_least_size_for_every_image(proposer):
    with pytest.raises(ValueError, match="longer"):
        propose(proposer, [np.zeros((9, 9, 3), np.uint8)], [24.0, 24.0])


# --- Selective Search ---


@pytest.fixture(scope="module")
def searched():
    astronaut = skimage.data.astronaut()
    proposer = SelectiveSearchProposer(side=200)
    return [proposer.propose([astronaut], [24.0]) for _ in range(2)]


def test_selective_search_finds_the_face(searched):
    boxes = searched[0].boxes
    assert geometry.box_iou(boxes, torch.tensor([[174.0, 70, 279, 178]])).max() > 0.5
    assert (boxes[:, 2] - boxes[:, 0] - (boxes[:, 3] - boxes[:, 1])).abs().max() < 1e-2
    assert (boxes[:, 2] - boxes[:, 0]).min() >= 24 * 0.8


def test_selective_search_is_deterministic(searched):
    assert torch.equal(searched[0].boxes, searched[1].boxes)


def test_selective_search_of_odd_images():
    proposer = SelectiveSearchProposer(limit=3)
    images = [np.zeros((1, 1, 3), np.uint8), np.zeros((4, 900, 3), np.uint8), np.zeros((50, 60, 3), np.uint8)]
    found = proposer.propose([*images, skimage.data.astronaut()[::4, ::4]], [24.0] * 4)
    assert (found.image_index == 3).sum() == 3
    assert not (found.image_index < 2).any()
    assert found.image_index.dtype == torch.int64
