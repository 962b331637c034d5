"""model.boxes and model.warps for tensors on the CPU, which training data are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model import boxes as boxes_
from model import warps
from model.boxes import BOX_SCALE, BOX_SHIFT
from model.warps import REGION_SCALE, Image, warp

__all__ = [
    "BOX_SCALE",
    "BOX_SHIFT",
    "REGION_SCALE",
    "Array",
    "Image",
    "alignment_matrices",
    "box_area",
    "box_from_landmarks",
    "box_iou",
    "box_overlap",
    "crop",
    "invert",
    "region_matrices",
    "rotations",
    "similarity",
    "square",
    "suppress",
    "transform",
    "upright_boxes",
    "warp",
]

Array = NDArray[np.floating[Any]]


def box_area(boxes: Tensor) -> Tensor:
    """Return boxes.area() of boxes [N, 4]."""
    return torch.from_numpy(boxes_.area(boxes.numpy()))


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return boxes.iou() [N, M] of boxes [N, 4] and [M, 4]."""
    return torch.from_numpy(boxes_.iou(first.numpy(), second.numpy()))


def box_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Return boxes.overlap() [N, M] of boxes [N, 4] and [M, 4]."""
    return torch.from_numpy(boxes_.overlap(first.numpy(), second.numpy()))


def suppress(boxes: Tensor, scores: Tensor, threshold: float, contained: float = 1.1) -> tuple[Tensor, Tensor]:
    """Return boxes.suppress(): the indices kept and the owner of each box."""
    kept, owner = boxes_.suppress(boxes.numpy(), scores.numpy(), threshold, contained)
    return torch.from_numpy(kept), torch.from_numpy(owner)


def box_from_landmarks(points: Tensor) -> Tensor:
    """Return boxes.from_landmarks() [N, 4] of landmarks [N, 21, 2]."""
    return torch.from_numpy(boxes_.from_landmarks(points.numpy()))


def square(boxes: Tensor) -> Tensor:
    """Return boxes.square() of boxes [N, 4]."""
    return torch.from_numpy(boxes_.square(boxes.numpy()))


def rotations(roll: Tensor) -> Tensor:
    """Return boxes.rotations() [K, 2, 2] of degrees [K]."""
    return torch.from_numpy(boxes_.rotations(roll.numpy()))


def upright_boxes(points: Tensor, roll: Tensor) -> Tensor:
    """Return boxes.upright() [K, 4] of landmarks [K, 21, 2] and degrees [K]."""
    return torch.from_numpy(boxes_.upright(points.numpy(), roll.numpy()))


def region_matrices(boxes: Tensor, size: int, roll: Tensor | None = None) -> Tensor:
    """Return warps.region_matrices() [K, 2, 3] of boxes [K, 4] and degrees [K]."""
    return torch.from_numpy(warps.region_matrices(boxes.numpy(), size, None if roll is None else roll.numpy()))


def similarity(source: Tensor, target: Tensor) -> Tensor:
    """Return warps.similarity() [N, 2, 3] of points [N, P, 2] and their targets."""
    return torch.from_numpy(warps.similarity(source.numpy(), target.numpy()))


def alignment_matrices(points: Tensor, size: int, frame: str = "canonical") -> Tensor:
    """Return warps.alignment_matrices() [N, 2, 3] of landmarks [N, 21, 2]."""
    return torch.from_numpy(warps.alignment_matrices(points.numpy(), size, frame))


def transform(points: Tensor, matrices: Tensor) -> Tensor:
    """Return warps.transform(): points [N, P, 2] under affine maps [N, 2, 3]."""
    return torch.from_numpy(warps.transform(points.numpy(), matrices.numpy()))


def invert(matrices: Tensor) -> Tensor:
    """Return the inverse affine maps [N, 2, 3]."""
    linear = torch.linalg.inv(matrices[:, :, :2])
    return torch.cat([linear, -linear @ matrices[:, :, 2:]], dim=2)


def crop(images: Sequence[Image], image_index: Tensor, matrices: Tensor, size: int) -> Tensor:
    """Return warps.crop() as uint8 [K, 3, size, size]."""
    return torch.from_numpy(warps.crop(images, image_index.numpy(), matrices.numpy(), size)).permute(0, 3, 1, 2)
