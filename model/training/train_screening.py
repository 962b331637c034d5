"""Train the screening network: python -m model.training.train_screening --hard FILE --out RUN.

It learns from regions of faces at any angle and of what is no face, and from what the proposer offers where no face is
(model.tools.mine_hard_examples). Where a face lies follows from its landmarks.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import boxes as boxes_
from model import checkpoint
from model import landmarks as markup
from model.datasets import mixture
from model.datasets.loaders import Batch, Loader
from model.datasets.regions import Hardships, Regions
from model.datasets.store import PhotoStore
from model.runtime.screening import SIZE
from model.screening_network import ScreeningNetwork
from model.training.fit import FitConfig, begin, crops_of, fit, half_precision, run_arguments

NEGATIVES = 0.45
"""Share of the regions that show no face."""
HARDSHIPS = Hardships(turned=0.45, covered=0.1, harmed=0.2)
WEIGHTS = {"helen": 8.0, "utkface": 0.12, "celeba_aligned_small": 0.4, "aside": 2.5, "profiles": 1.5}
PLACEMENT_WEIGHT = 4.0


class Repeated:
    """Batches of a loader over and over, mirrored every other time: drawing regions takes longer than learning them."""

    def __init__(self, draw: Loader, count: int) -> None:
        self._draw = draw
        self._count = count
        self._batches: dict[int, Batch] = {}
        self._drawn = 0

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Return the next batch: of the first `count` each is drawn by its own generator."""
        number = self._drawn
        self._drawn += 1
        if number % self._count not in self._batches:
            self._batches[number % self._count] = self._draw(size, rng)
        batch = self._batches[number % self._count]
        return mirrored(batch) if number // self._count % 2 else batch


def mirrored(batch: Batch) -> Batch:
    """Return the regions as a mirror shows them."""
    return {
        "crops": batch["crops"].flip(3),
        "detection": batch["detection"],
        "landmarks": batch["landmarks"][:, list(markup.MIRROR)] * torch.tensor([-1.0, 1.0]),
        "pose": batch["pose"] * torch.tensor([-1.0, 1.0, -1.0]),
    }


def placements(landmarks: Tensor, pose: Tensor) -> Tensor:
    """Where the upright regions of faces lie in the regions seen, and their rolls: [K, 5], NaN where unlabelled.

    Landmarks [K, 21, 2] in units of the region, pose [K, 3] in radians → centre x and y, logarithm of the side, sine
    and cosine of the roll: what ScreeningNetwork says.
    """
    roll = pose[:, 0].numpy()
    squares = boxes_.upright(landmarks.numpy(), np.rad2deg(roll))
    sides = np.log(np.maximum(boxes_.sides(squares)[:, :1], 1e-3))
    turned = np.stack([np.sin(roll), np.cos(roll)], axis=1)
    return torch.from_numpy(np.concatenate([boxes_.centres(squares), sides, turned], axis=1).astype(np.float32))


def screening_losses(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Cross-entropy of the score and smooth L1 of the placement, each over what is labelled."""
    with half_precision():
        outputs = network(crops_of(batch)).float()
    label = batch["detection"]
    scored = ~label.isnan()
    score = F.binary_cross_entropy_with_logits(outputs[scored, 0], label[scored])
    target = placements(batch["landmarks"], batch["pose"])
    placed = ~target.isnan().any(dim=1)
    place = F.smooth_l1_loss(outputs[placed, 1:], target[placed], beta=0.05) if placed.any() else outputs.sum() * 0
    return {"score": score, "place": PLACEMENT_WEIGHT * place}


def main() -> None:
    """Train the screening network that the arguments describe."""
    parser = run_arguments(__doc__, "screening network", FitConfig(1200, 128, 3e-3))
    parser.add_argument("--hard", type=Path, help="what model.tools.mine_hard_examples wrote")
    parser.add_argument("--drawn", type=int, default=256, help="batches that are drawn and then used again")
    arguments = parser.parse_args()
    config = begin(arguments)
    regions = read_regions(arguments.hard, profiles=arguments.profiles)
    network = ScreeningNetwork()
    if arguments.start:
        network.load_state_dict(checkpoint.load(arguments.start).part("screening"))
    drawn = Repeated(regions.batch, arguments.drawn)
    fit(network, "screening", drawn.batch, screening_losses, arguments.out, config)


def read_regions(hard: Path | None, *, profiles: bool = False) -> Regions:
    """Return the training photos' regions. Raises FileNotFoundError naming a data set that is missing."""
    faces, empty = mixture.photos(profiles)
    mined = None
    if hard:
        with np.load(hard) as arrays:
            mined = dict(arrays)
    make = partial(Regions, negatives=NEGATIVES, hard=mined, weights=WEIGHTS, hardships=HARDSHIPS)
    train = [s for s in faces if s.split == "train"]
    return make(train, [s for s in empty if s.split == "train"], PhotoStore(faces + empty), SIZE)


if __name__ == "__main__":
    main()
