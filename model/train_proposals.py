"""Trains the dense proposer on mosaics: python -m model.train_proposals --out RUN [--start WEIGHTS] [--hard FILE].

A mosaic is a background of any scale with photos of marked faces laid on it, each shrunk or grown so that its face
has a chosen size. A cell near the centre of a face of the level's octave is positive, near any other face ignored.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Collection, Sequence
from math import cos, pi
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from model import checkpoint, geometry
from model.datasets import Array, Sample, mixture
from model.datasets.augment import degrade
from model.datasets.loaders import Batch, prefetch
from model.datasets.regions import MISSED
from model.datasets.store import PhotoStore
from model.geometry import Image
from model.proposals import SIZES, STRIDE, UNIT, ProposalNetwork, cell_centres

CANVAS = 192
HARD = 40.0
"""Weight of the faces that an earlier detector missed (model.mine)."""
UPRIGHT = 0.85
"""Share of the photos that are laid about upright; the others lie at any angle, as faces of reclining people do."""


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
        self.backgrounds, self.photos = list(backgrounds), photos
        share = {"utkface": 0.25, "celeba_aligned_small": 0.3, "helen": 4.0}
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
        return degrade(canvas, rng), np.array(boxes, np.float32).reshape(-1, 4)

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
        photo, box = self.photos[self.samples[i]], self.boxes[i]
        low, high = SIZES if rng.random() < 0.75 else (10.0, 200.0)
        scale = np.exp(rng.uniform(np.log(low), np.log(high))) / (box[2] - box[0])
        angle = np.deg2rad(rng.normal(0, 8) if rng.random() < UPRIGHT else rng.uniform(-110, 110))
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
        points = torch.from_numpy(self.points[i] @ linear.T + shift)[None].float()
        laid: Array = geometry.box_from_landmarks(points)[0].numpy()
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
    logit, label = output[:, 0].float(), target[:, 0]
    known, positive = ~label.isnan(), label == 1
    label = label.nan_to_num()
    chance = torch.where(positive, logit.sigmoid(), 1 - logit.sigmoid())
    losses = F.binary_cross_entropy_with_logits(logit, label, reduction="none") * (1 - chance).square()
    count = positive.sum().clamp(min=1)
    scores = (losses * known).sum() / count
    boxes = F.smooth_l1_loss(output[:, 1:].float(), target[:, 1:], reduction="none", beta=0.05).sum(dim=1)
    return scores, (boxes * positive).sum() / count


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumed where it holds a state")
    parser.add_argument("--start", type=Path, help="checkpoint whose proposer goes on learning")
    parser.add_argument("--hard", type=Path, help="what model.mine wrote: the faces it names come up more often")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=24)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    faces, empty = mixture.photos()
    photos = PhotoStore(faces + empty)
    missed = set(np.load(arguments.hard)[MISSED]) if arguments.hard else set[str]()
    data = Mosaics([s for s in faces if s.split == "train"], [s for s in empty if s.split == "train"], photos, missed)
    started = checkpoint.load(arguments.start).part("proposals") if arguments.start else None
    train(data, arguments.out, arguments.steps, arguments.batch_size, arguments.lr, arguments.seed, started)


def train(
    data: Mosaics,
    out: Path,
    steps: int,
    batch_size: int,
    lr: float,
    seed: int,
    started: dict[str, Tensor] | None = None,
) -> None:
    """Steps until the end; out/state.pt every five minutes, holding network, optimiser and step."""
    torch.manual_seed(seed)
    network = ProposalNetwork().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if started:
        network.load_state_dict(started)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4)
    step, path = 0, out / "state.pt"
    if path.is_file():
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        step = state["step"]

    def make(number: int) -> tuple[str, Batch]:
        return "mosaics", data.batch(batch_size, np.random.default_rng((seed, number)))

    saved, means = time.monotonic(), (0.0, 0.0)
    bar = tqdm(prefetch(make, step, steps), "proposals", total=steps, initial=step, mininterval=5.0)
    for _, batch in bar:
        rate = lr * min(1.0, (step + 1) / 200) * (0.5 + 0.5 * cos(pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        output = network(batch["crops"].float().contiguous(memory_format=torch.channels_last))
        scores, boxes = proposal_loss(output, batch["targets"])
        loss = scores + boxes
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {step}: loss {loss.item()}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step += 1
        means = 0.98 * means[0] + 0.02 * scores.item(), 0.98 * means[1] + 0.02 * boxes.item()
        bar.set_postfix(scores=f"{means[0]:.3f}", boxes=f"{means[1]:.3f}", refresh=False)
        if step == steps or time.monotonic() - saved > 300:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, out / "state.partial")
            (out / "state.partial").replace(path)
            checkpoint.save(out / "proposals.safetensors", {"proposals": network.state_dict()}, {})
            saved = time.monotonic()


if __name__ == "__main__":
    main()
