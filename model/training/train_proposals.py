"""Train the dense proposer on mosaics: python -m model.training.train_proposals --out RUN.

A mosaic is a background of any scale with photos of marked faces laid on it, each shrunk or grown so that its face
has a chosen size. A cell near the centre of a face of the level's octave is positive, near any other face ignored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import checkpoint, geometry
from model.datasets import Array, Sample, mixture
from model.datasets.augment import degrade
from model.datasets.covering import cover
from model.datasets.harm import harm
from model.datasets.loaders import Batch
from model.datasets.regions import MISSED
from model.datasets.store import PhotoStore
from model.geometry import Image
from model.proposal_network import ProposalNetwork, cell_centres
from model.runtime.proposals import UNIT
from model.runtime.pyramid import SIZES, STRIDE
from model.training.fit import FitConfig, begin, crops_of, fit, half_precision, run_arguments

CANVAS = 192
HARD = 40.0
"""Weight of the faces that an earlier detector missed (model.tools.mine_hard_examples)."""
UPRIGHT = 0.6
"""Share of the photos that are laid about upright; the others lie at any angle, as faces of photos on their side do."""
HARMED = 0.2
"""Share of the mosaics that are dark, small, blurred or packed tightly."""
COVERED = 0.4
"""Share of the faces with a mask, sunglasses, a hand or an object before them."""
MASKED = 0.6
"""Share of masks among what covers faces: they hide more of what a face is known by than the others do."""


class Mosaics:
    """Mosaics of photos with one marked face each on backgrounds without."""

    def __init__(
        self,
        samples: Sequence[Sample],
        backgrounds: Sequence[Sample],
        photos: PhotoStore,
        missed: Collection[str] = (),
    ) -> None:
        self.samples = [
            s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all() and s.faces == 1
        ]
        points = torch.from_numpy(np.stack([s.landmarks for s in self.samples if s.landmarks is not None])).float()
        self.points, self.boxes = points.numpy(), geometry.box_from_landmarks(points).numpy()
        self.backgrounds = list(backgrounds)
        self.photos = photos
        share = {"utkface": 0.25, "celeba_aligned_small": 0.3, "helen": 4.0, "profiles": 1.5}
        chances = np.array([share.get(s.source, 1.0) for s in self.samples])
        chances *= [HARD if f"{s.source}/{s.name}" in missed else 1.0 for s in self.samples]
        self._chances = chances / chances.sum()

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` canvases with their target maps."""
        rows = [self._canvas(rng) for _ in range(count)]
        canvases = torch.from_numpy(np.stack([canvas for canvas, _ in rows])).permute(0, 3, 1, 2)
        return {"crops": canvases, "targets": torch.stack([target_map(boxes) for _, boxes in rows])}

    def _canvas(self, rng: np.random.Generator) -> tuple[Image, Array]:
        canvas = self._background(rng)
        boxes: list[Array] = []
        for _ in range(int(rng.choice([0, 1, 2, 4], p=[0.25, 0.25, 0.25, 0.25]))):
            box = self._lay(canvas, boxes, rng)
            if box is not None:
                boxes.append(box)
        canvas = degrade(canvas, rng)
        canvas = harm(canvas, rng) if rng.random() < HARMED else canvas
        return canvas, np.array(boxes, np.float32).reshape(-1, 4)

    def _background(self, rng: np.random.Generator) -> Image:
        photo = self.photos[self.backgrounds[int(rng.integers(len(self.backgrounds)))]]
        scale = np.exp(rng.uniform(np.log(CANVAS / 3), np.log(CANVAS * 3))) / min(photo.shape[:2])
        matrix = np.array([[scale, 0, 0], [0, scale, 0]])
        size = np.array(photo.shape[1::-1]) * scale
        matrix[:, 2] = -rng.uniform(0, np.maximum(size - CANVAS, 0)) + rng.uniform(0, np.maximum(CANVAS - size, 0))
        return geometry.warp(photo, matrix, CANVAS)

    def _lay(self, canvas: Image, others: Sequence[Array], rng: np.random.Generator) -> Array | None:
        """Lays one photo, turned, on the canvas; its face's box, or None where it would cover another face."""
        i = int(rng.choice(len(self.samples), p=self._chances))
        photo = self.photos[self.samples[i]]
        box = self.boxes[i]
        low, high = SIZES if rng.random() < 0.75 else (10.0, 200.0)
        scale = np.exp(rng.uniform(np.log(low), np.log(high))) / (box[2] - box[0])
        angle = np.deg2rad(rng.normal(0, 8) if rng.random() < UPRIGHT else rng.uniform(-180, 180))
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = scale * turn @ np.diag([rng.choice([-1.0, 1.0]), 1.0])
        shift = rng.uniform(0.05, 0.95, 2) * CANVAS - linear @ (box[:2] + box[2:]) / 2
        height, width = photo.shape[:2]
        corners = np.array([(1, 1), (width - 1, 1), (width - 1, height - 1), (1, height - 1)]) @ linear.T + shift
        covered = cv2.fillConvexPoly(np.zeros((CANVAS, CANVAS), np.uint8), np.round(corners).astype(int), 1) > 0
        for x1, y1, x2, y2 in np.clip(others, 0, CANVAS).astype(int) if len(others) else ():
            if covered[y1 : y2 + 1, x1 : x2 + 1].any():
                return None
        if covered.sum() < 16:
            return None
        canvas[covered] = geometry.warp(photo, np.column_stack([linear, shift]), CANVAS)[covered]
        points = self.points[i] @ linear.T + shift
        if rng.random() < COVERED:
            kind = "mask" if rng.random() < MASKED else None
            canvas[:] = cover(canvas, points, np.ones(len(points), np.float32), rng, kind)[0]
        laid: Array = geometry.box_from_landmarks(torch.from_numpy(points)[None].float())[0].numpy()
        return laid


def target_map(boxes: Array) -> Tensor:
    """Square boxes [N, 4] → [4, H, W]: class (1 face, 0 none, NaN ignored), dx, dy, log side, for a CANVAS image."""
    cells = CANVAS // STRIDE
    centres = cell_centres(cells, cells)
    target = torch.zeros(4, cells, cells)
    for box in torch.from_numpy(boxes):
        side = float(box[2] - box[0])
        offset = (box[:2] + box[2:]) / 2 - centres
        distance = offset.norm(dim=-1) / side
        if side > SIZES[1] * 1.4:
            continue
        target[0][distance < 0.6] = torch.nan
        if SIZES[0] <= side <= SIZES[1]:
            near = distance < max(0.22, 0.71 * STRIDE / side)
            target[0][near] = 1
            for channel in (0, 1):
                target[1 + channel][near] = offset[..., channel][near] / UNIT
            target[3][near] = float(np.log(side / UNIT))
    return target


def proposal_loss(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Focal loss (Lin et al. 2017, γ 2) of the scores and smooth L1 of centre and size, per positive cell."""
    logit = output[:, 0].float()
    label = target[:, 0]
    known = ~label.isnan()
    positive = label == 1
    label = label.nan_to_num()
    chance = torch.where(positive, logit.sigmoid(), 1 - logit.sigmoid())
    losses = F.binary_cross_entropy_with_logits(logit, label, reduction="none") * (1 - chance).square()
    count = positive.sum().clamp(min=1)
    scores = (losses * known).sum() / count
    boxes = F.smooth_l1_loss(output[:, 1:].float(), target[:, 1:], reduction="none", beta=0.05).sum(dim=1)
    return scores, (boxes * positive).sum() / count


def teacher_loss(output: Tensor, taught: Tensor) -> Tensor:
    """Distance to another proposer's maps: cross-entropy of all scores, smooth L1 of the boxes by its score.

    Both are sums over what it takes for faces.
    """
    chance = taught[:, 0].sigmoid()
    scores = F.binary_cross_entropy_with_logits(output[:, 0].float(), chance, reduction="none")
    boxes = F.smooth_l1_loss(output[:, 1:].float(), taught[:, 1:], reduction="none", beta=0.05).sum(dim=1)
    faces = chance.clamp(min=0.1) - 0.1
    return (scores.sum() + (boxes * faces).sum()) / faces.sum().clamp(min=1)


def main() -> None:
    """Train the proposer that the arguments describe."""
    parser = run_arguments(__doc__, "proposer", FitConfig(8000, 24, 2e-3))
    parser.add_argument("--hard", type=Path, help="what model.tools.mine_hard_examples wrote")
    parser.add_argument("--separable", action="store_true", help="a body of a third of the multiplications")
    parser.add_argument("--teacher", type=Path, help="checkpoint whose proposer's outputs are learnt beside the marks")
    arguments = parser.parse_args()
    config = begin(arguments)
    faces, empty = mixture.photos(arguments.profiles)
    photos = PhotoStore(faces + empty)
    missed = set(np.load(arguments.hard)[MISSED]) if arguments.hard else set[str]()
    data = Mosaics([s for s in faces if s.split == "train"], [s for s in empty if s.split == "train"], photos, missed)
    started, teacher = (
        ProposalNetwork.of_weights(checkpoint.load(path).part("proposals")) if path else None
        for path in (arguments.start, arguments.teacher)
    )
    network = started or ProposalNetwork(separable=arguments.separable)
    if teacher and not started:
        network.copy_ends(teacher)
    fit(network, "proposals", data.batch, partial(mosaic_losses, teacher=teacher), arguments.out, config)


def mosaic_losses(network: nn.Module, batch: Batch, teacher: ProposalNetwork | None = None) -> dict[str, Tensor]:
    """proposal_loss() of a batch of mosaics, and the teacher's where there is one."""
    canvases = crops_of(batch)
    with half_precision():
        output = network(canvases)
    scores, boxes = proposal_loss(output, batch["targets"])
    if teacher is None:
        return {"scores": scores, "boxes": boxes}
    with torch.no_grad():
        taught = teacher(canvases)
    return {"scores": scores, "boxes": boxes, "teacher": teacher_loss(output, taught)}


if __name__ == "__main__":
    main()
