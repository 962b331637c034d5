"""Image → candidate face regions: a small fully convolutional network over an image pyramid, or Selective Search.

The learnt proposer looks for faces of one octave of sizes at every level of a pyramid that halves from level to level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from model import geometry
from model.geometry import Image
from model.structures import Proposals
from model.trunk import PIXEL_MEAN, normalise

STRIDE = 8
UNIT = 32.0
"""Side in pixels of the face that the network's size output 0 stands for."""
SIZES = (20.0, 56.0)
"""Sides of the faces that one pyramid level answers for: a bit more than an octave."""
MIN_FACE = 24.0


class ProposalNetwork(nn.Module):
    """Fully convolutional, output stride 8: face logit, centre offset and log side per cell. About 0.1 M parameters."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        half = width // 2
        self.stem = nn.Sequential(nn.Conv2d(3, half, 6, stride=4, padding=1), nn.PReLU(half))
        self.down = nn.Sequential(nn.Conv2d(half, width, 3, stride=2, padding=1), nn.PReLU(width))
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)) for _ in range(4)
        )
        self.out = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.out.bias, 0.0)  # type: ignore[arg-type]
        with torch.no_grad():
            self.out.bias[0] = -4.0  # type: ignore[index]

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] RGB 0–255, H and W multiples of 8 → [B, 4, H/8, W/8]: logit, dx, dy, log side."""
        x = self.down(self.stem(normalise(images).to(self.out.weight.dtype)))
        for layer in self.body:
            x = x + layer(x)
        y: Tensor = self.out(x)
        return y


def cell_centres(height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """Pixel centres [height, width, 2] (x, y) of the output cells."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1) * float(STRIDE) + STRIDE / 2


def decode(output: Tensor) -> tuple[Tensor, Tensor]:
    """Network output [B, 4, H, W] → scores [B, H·W] and square boxes [B, H·W, 4] in pixels of the level."""
    batch, _, height, width = output.shape
    output = output.float().permute(0, 2, 3, 1)
    centre = cell_centres(height, width, output.device) + output[..., 1:3] * UNIT
    half = UNIT * torch.exp(output[..., 3:].clamp(-2, 2)) / 2
    boxes = torch.cat([centre - half, centre + half], dim=-1)
    return output[..., 0].sigmoid().view(batch, -1), boxes.view(batch, -1, 4)


class DenseProposer:
    """The learnt proposer. Images of one size share a forward pass.

    Faces from `min_size` pixels up; images of more than `max_pixels` are shrunk to that first, and `min_size` with
    them. Keeps at most `limit` boxes an image, best first, scores ≥ `threshold`.
    """

    def __init__(
        self,
        network: ProposalNetwork,
        device: str = "cpu",
        threshold: float = 0.2,
        overlap: float = 0.5,
        limit: int = 64,
        max_pixels: int = 1 << 21,
    ) -> None:
        self.network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device, self.threshold, self.overlap = device, threshold, overlap
        self.limit, self.max_pixels = limit, max_pixels

    def propose(self, images: Sequence[Image], min_sizes: Sequence[float]) -> Proposals:
        """Boxes of all images, those of an image together and best first."""
        levels: dict[tuple[int, ...], list[tuple[int, float, Image]]] = defaultdict(list)
        for index, (image, min_size) in enumerate(zip(images, min_sizes, strict=True)):
            for scale, level in self._pyramid(image, min_size):
                levels[level.shape].append((index, scale, level))
        found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in images]
        sent = [(entries, self._send([level for _, _, level in entries])) for entries in levels.values()]
        for entries, (scores, boxes) in sent:
            for (index, scale, _), level_scores, level_boxes in zip(entries, scores.cpu(), boxes.cpu(), strict=True):
                keep = level_scores >= self.threshold
                found[index].append((level_scores[keep], level_boxes[keep] / scale))
        return Proposals.cat([self._select(index, parts) for index, parts in enumerate(found)])

    def _send(self, levels: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """Scores and boxes of levels of one size; on CUDA neither copy nor network is waited for."""
        pixels = torch.from_numpy(np.stack(levels))
        cuda = torch.device(self.device).type == "cuda"
        pixels = (pixels.pin_memory() if cuda else pixels).to(self.device, non_blocking=cuda)
        return decode(self.network(pixels.permute(0, 3, 1, 2)))

    def _pyramid(self, image: Image, min_size: float) -> list[tuple[float, Image]]:
        """Levels (scale, image padded to multiples of 32 with the mean colour), largest first."""
        height, width = image.shape[:2]
        scale = min(1.0, MIN_FACE / max(min_size, 1.0), (self.max_pixels / (height * width)) ** 0.5)
        levels = []
        current = image
        while True:
            size = max(round(width * scale), 1), max(round(height * scale), 1)
            current = np.asarray(cv2.resize(current, size, interpolation=cv2.INTER_AREA), np.uint8)
            padding = (-size[1] % 32, -size[0] % 32)
            padded = cv2.copyMakeBorder(
                current, 0, padding[0], 0, padding[1], cv2.BORDER_CONSTANT, value=[round(v) for v in PIXEL_MEAN]
            )
            levels.append((scale, np.asarray(padded, np.uint8)))
            if max(size) <= SIZES[0] * 1.5 or min(size) < SIZES[0] / 2:
                return levels
            scale /= 2

    def _select(self, index: int, parts: Sequence[tuple[Tensor, Tensor]]) -> Proposals:
        scores, boxes = (torch.cat([part[i] for part in parts]) for i in (0, 1))
        best = torch.argsort(scores, descending=True, stable=True)[: self.limit * 8]
        keep = best[geometry.suppress(boxes[best], scores[best], self.overlap)[0]][: self.limit]
        return Proposals(torch.full((len(keep),), index), boxes[keep], scores[keep])


class SelectiveSearchProposer:
    """Selective Search (Uijlings et al. 2013), OpenCV contrib's fast mode, as in the paper.

    Boxes carry no score of their own: each gets 1. Seconds an image; images are shrunk to `side` pixels first.
    """

    def __init__(self, side: int = 400, limit: int = 2000) -> None:
        self.side, self.limit = side, limit

    def propose(self, images: Sequence[Image], min_sizes: Sequence[float]) -> Proposals:
        """Square boxes of all images, those of an image together, largest first."""
        return Proposals.cat([self._one(i, *item) for i, item in enumerate(zip(images, min_sizes, strict=True))])

    def _one(self, index: int, image: Image, min_size: float) -> Proposals:
        scale = min(1.0, self.side / max(image.shape[:2]))
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        boxes = torch.zeros(0, 4)
        if min(size) >= 8:
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
            search.setBaseImage(np.ascontiguousarray(small[:, :, ::-1]))
            search.switchToSelectiveSearchFast()
            # OpenCV returns the regions in random order, some twice.
            found = np.unique(np.asarray(search.process(), np.float32).reshape(-1, 4), axis=0)
            xywh = torch.from_numpy(found) / scale
            boxes = torch.cat([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], dim=1)
            ratio = xywh[:, 2] / xywh[:, 3].clamp(min=1)
            boxes = geometry.square(boxes[(ratio > 0.5) & (ratio < 2)])
            boxes = boxes[boxes[:, 2] - boxes[:, 0] >= min_size * 0.8]
            boxes = boxes[torch.argsort(geometry.box_area(boxes), descending=True, stable=True)[: self.limit]]
        return Proposals(torch.full((len(boxes),), index), boxes, torch.ones(len(boxes)))
