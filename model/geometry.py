"""Boxes, similarity transforms and crops: pure functions. Boxes are xyxy in pixels, pixel centres at half integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import landmarks as markup

BOX_SCALE = 1.155
"""Face box side over the longer side of the landmarks' bounding box: median of the training photos (5 % deviation)."""
BOX_SHIFT = -0.093
"""Shift of the face box's centre down the image, in units of the longer side: fitted with BOX_SCALE."""
REGION_SCALE = 1.25
"""Side of what the network sees over the side of the region: context that a tight box lacks."""

Image = NDArray[np.uint8]
Array = NDArray[np.floating[Any]]


def box_area(boxes: Tensor) -> Tensor:
    """Areas [N] of boxes [N, 4]; 0 where a box is inside out."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union [N, M] of boxes [N, 4] and [M, 4]; 0 where the union is empty."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(dim=2)
    union = box_area(first)[:, None] + box_area(second)[None] - intersection
    return torch.where(union > 0, intersection / union.clamp(min=1e-9), torch.zeros_like(union))


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over the smaller area [N, M] of boxes [N, 4] and [M, 4]: 1 where one holds the other."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    smaller = torch.minimum(box_area(first)[:, None], box_area(second)[None])
    return (high - low).clamp(min=0).prod(dim=2) / smaller.clamp(min=1e-9)


def suppress(boxes: Tensor, scores: Tensor, threshold: float, contained: float = 1.1) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression: indices int64 of the kept boxes, best first, and [N] which of them owns each box.

    A box goes to the first better one with IoU > threshold or overlap over the smaller area > `contained` (over 1:
    never). Ties keep the earlier box. A kept box owns itself; owners count positions among the kept.
    """
    order = torch.argsort(scores, descending=True, stable=True)
    related = ((box_iou(boxes, boxes) > threshold) | (box_overlap(boxes, boxes) > contained)).cpu().numpy()
    owner = np.full(len(boxes), -1)
    kept: list[int] = []
    for index in order.tolist():
        if owner[index] < 0:
            owner[related[index] & (owner < 0)] = len(kept)
            owner[index] = len(kept)
            kept.append(index)
    return torch.tensor(kept, dtype=torch.int64), torch.from_numpy(owner)


def box_from_landmarks(points: Tensor) -> Tensor:
    """Square face boxes [N, 4] of landmarks [N, 21, 2]: a fixed affine map of their bounding box.

    HyperFace needs such a rule and publishes none; this one was fitted to the face boxes of the training photos.
    """
    low, high = points.amin(dim=1), points.amax(dim=1)
    side = (high - low).amax(dim=1, keepdim=True)
    centre = (low + high) / 2 + side * torch.tensor([0.0, BOX_SHIFT], device=points.device)
    half = side * (BOX_SCALE / 2)
    return torch.cat([centre - half, centre + half], dim=1)


def square(boxes: Tensor) -> Tensor:
    """Squares [N, 4] of the same centres and areas."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (box_area(boxes).sqrt() / 2)[:, None]
    return torch.cat([centre - half, centre + half], dim=1)


def rotations(roll: Tensor) -> Tensor:
    """Linear maps [K, 2, 2] that turn by roll [K] degrees, clockwise in the image for roll > 0."""
    angle = torch.deg2rad(roll)
    cosine, sine = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], dim=1)


def upright_boxes(points: Tensor, roll: Tensor) -> Tensor:
    """Squares [K, 4] that are box_from_landmarks of faces [K, 21, 2] turned upright; then turned by roll [K] degrees.

    What they hold is a region turned by roll about its centre, as region_matrices takes it.
    """
    turn = rotations(roll)
    boxes = box_from_landmarks(points @ turn)
    centre = ((boxes[:, :2] + boxes[:, 2:])[:, None] / 2 @ turn.transpose(1, 2))[:, 0]
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - half, centre + half], dim=1)


def region_matrices(boxes: Tensor, size: int, roll: Tensor | None = None) -> Tensor:
    """Affine maps [K, 2, 3] from image pixels to a size × size crop that shows each box with REGION_SCALE context.

    A box with a roll [K] is turned about its centre by so many degrees, and its crop shows it upright.
    """
    side = (boxes[:, 2:] - boxes[:, :2]) * REGION_SCALE
    scale = size / side.clamp(min=1e-3)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    linear = torch.diag_embed(scale)
    if roll is not None:
        linear = linear @ rotations(-roll)
    return torch.cat([linear, size / 2 - linear @ centre[:, :, None]], dim=2)


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """Least-squares similarity transforms [N, 2, 3] that take source [N, P, 2] to target [N, P, 2] or [P, 2].

    Rotation, uniform scale and shift without reflection: Umeyama 1991, in closed form for the plane. Degenerate
    sources (all points equal) give the identity rotation at scale 0.
    """
    source, target = source.double(), target.double().expand_as(source)
    source_mean, target_mean = source.mean(dim=1, keepdim=True), target.mean(dim=1, keepdim=True)
    (x, y), (u, v) = (source - source_mean).unbind(-1), (target - target_mean).unbind(-1)
    energy = (x * x + y * y).sum(dim=1).clamp(min=1e-12)
    cosine = (x * u + y * v).sum(dim=1) / energy
    sine = (x * v - y * u).sum(dim=1) / energy
    linear = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], dim=1)
    shift = target_mean[:, 0] - (linear @ source_mean[:, 0, :, None])[..., 0]
    return torch.cat([linear, shift[..., None]], dim=2).float()


def alignment_matrices(points: Tensor, size: int) -> Tensor:
    """Affine maps [N, 2, 3] from image pixels to the canonical size × size chip, from landmarks [N, 21, 2]."""
    canonical = torch.from_numpy(markup.CANONICAL) * size
    chosen = list(markup.ALIGNMENT)
    return similarity(points[:, chosen], canonical[chosen])


def transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Points [N, P, 2] under affine maps [N, 2, 3]."""
    return points @ matrices[:, :, :2].transpose(1, 2) + matrices[:, None, :, 2]


def invert(matrices: Tensor) -> Tensor:
    """Inverse affine maps [N, 2, 3]."""
    linear = torch.linalg.inv(matrices[:, :, :2])
    return torch.cat([linear, -linear @ matrices[:, :, 2:]], dim=2)


def warp(image: Image, matrix: Array, size: int) -> Image:
    """One size × size crop [size, size, 3] of an image under an affine map [2, 3] from image to crop; black outside.

    What shrinks is averaged by area first, so that large faces do not alias. A map without inverse, or of numbers that
    are not finite, shows nothing: black.
    """
    linear = np.asarray(matrix[:, :2], dtype=np.float64)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(linear)) < 1e-9:
        return np.zeros((size, size, image.shape[2]), np.uint8)
    inverse = np.linalg.inv(linear)
    corners = np.array([(0, 0), (size, 0), (size, size), (0, size)]) - matrix[:, 2]
    corners = corners @ inverse.T
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, None)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 2, 0, image.shape[1::-1])
    if (high <= low).any():
        return np.zeros((size, size, image.shape[2]), np.uint8)
    part = image[low[1] : high[1], low[0] : high[0]]
    shift = np.asarray(matrix[:, 2], dtype=np.float64) + linear @ low
    shrink = 1 / np.sqrt(abs(np.linalg.det(linear)))
    if shrink > 1:
        smaller = np.maximum(np.round(np.array(part.shape[1::-1]) / shrink), 1).astype(int)
        linear = linear * (np.array(part.shape[1::-1]) / smaller)
        area = cv2.resize(part, (int(smaller[0]), int(smaller[1])), interpolation=cv2.INTER_AREA)
        part = np.asarray(area, np.uint8)
    # OpenCV puts pixel centres at integers, we at half integers.
    shift = shift + linear @ np.array([0.5, 0.5]) - 0.5
    forward = np.concatenate([linear, shift[:, None]], axis=1)
    return np.asarray(cv2.warpAffine(part, forward, (size, size), flags=cv2.INTER_LINEAR), dtype=np.uint8)


def crop(images: Sequence[Image], image_index: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Crops uint8 [K, 3, size, size] of K affine maps [K, 2, 3], each from the image that image_index [K] names."""
    crops = np.empty((len(matrices), size, size, 3), np.uint8)
    for k, (index, matrix) in enumerate(zip(image_index.tolist(), matrices.numpy(), strict=True)):
        crops[k] = warp(images[index], matrix, size)
    return torch.from_numpy(crops).permute(0, 3, 1, 2)
