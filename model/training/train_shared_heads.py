"""Train the second readings of age, gender and pose: python -m model.training.train_shared_heads WEIGHTS --out RUN.

Nothing of the network of WEIGHTS learns, so each training face goes through it once, as its chip is, and the heads
learn from what is kept of that in RUN/features.pt: minutes instead of hours (model/shared_heads.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint, shared_heads, tasks
from model.datasets import Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import Photos, PhotoStore
from model.network import AllInOne
from model.shared_heads import POSE_UNIT, SharedHeads
from model.tasks import LossConfig
from model.training.fit import FitConfig, begin, fit, run_arguments

CHUNK = 64
LOSSES = LossConfig(age_lambda=1.0, age_sigma=5.0)


@dataclass(frozen=True)
class KeptFeatures:
    """What the heads read of N faces, [N, width], and their labels: NaN where there is none.

    Those are `age` and `female` [N] and `pose` [N, 3], roll, pitch and yaw in degrees, the roll as the chip shows it.
    """

    values: Tensor
    labels: dict[str, Tensor]

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` random faces."""
        chosen = torch.from_numpy(rng.integers(len(self.values), size=count))
        return {"features": self.values[chosen], **{name: values[chosen] for name, values in self.labels.items()}}


@torch.inference_mode()
def keep_features(network: AllInOne, samples: Sequence[Sample], photos: Photos) -> KeptFeatures:
    """Look at the chip of each face that has all 21 landmarks once. Raises ValueError when there is none."""
    faces = AlignedFaces(samples, photos, network.config.input_size, (), frame=network.config.frame)
    rows = []
    for start in tqdm(range(0, len(faces.samples), CHUNK), "features", unit="batch", mininterval=30.0):
        chips = faces.exact(range(start, min(start + CHUNK, len(faces.samples))))["crops"]
        maps = network.trunk(chips.float().contiguous(memory_format=torch.channels_last), 7)
        rows.append(shared_heads.features(maps[5], network.branches(maps, ("descriptor",))["descriptor"]))
    labels = {name: np.array([getattr(s, name) for s in faces.samples], np.float32) for name in ("age", "female")}
    poses = np.stack([np.full(3, np.nan) if s.pose is None else s.pose for s in faces.samples])
    turns = np.rad2deg(np.arctan2(faces.matrices[:, 1, 0], faces.matrices[:, 0, 0]))
    poses[:, 0] = (poses[:, 0] + turns + 180) % 360 - 180
    tensors = {name: torch.from_numpy(values) for name, values in (labels | {"pose": poses.astype(np.float32)}).items()}
    return KeptFeatures(torch.cat(rows), tensors)


def new_heads(network: AllInOne, seen: KeptFeatures) -> SharedHeads:
    """Return untrained heads for a network, which know mean and deviation of what they will read.

    Raises ValueError for a network whose age is one number: only chances of ages can be mixed.
    """
    if network.config.ages == 1:
        raise ValueError("second readings need a network that tells the chances of all ages")
    heads = SharedHeads(seen.values.shape[1], network.config.ages)
    heads.mean.copy_(seen.values.mean(dim=0))
    heads.deviation.copy_(seen.values.std(dim=0) + 0.05)
    return heads


def head_losses(heads: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Losses of the second readings by task; of the pose smooth L1, in units of POSE_UNIT."""
    outputs = heads(batch["features"])
    known = ~batch["pose"].isnan().any(dim=1)
    pose = F.smooth_l1_loss(outputs["pose"][known] / POSE_UNIT, batch["pose"][known] / POSE_UNIT, beta=0.1)
    readings = {name: outputs[name] for name in ("age", "gender")}
    return tasks.losses(readings, batch, LOSSES) | {"pose": pose.nan_to_num()}


def main() -> None:
    """Train the heads that the arguments describe."""
    parser = run_arguments(__doc__, "shared heads", FitConfig(5000, 256, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    arguments = parser.parse_args()
    config = begin(arguments)
    network = checkpoint.build_network(checkpoint.load(arguments.weights))
    path = arguments.out / "features.pt"
    if not path.is_file():
        faces, empty = mixture.photos()
        seen = keep_features(network, [s for s in faces if s.split == "train"], PhotoStore(faces + empty))
        torch.save(seen.labels | {"values": seen.values}, path)
    kept = torch.load(path, weights_only=True)
    seen = KeptFeatures(kept.pop("values"), kept)
    fit(new_heads(network, seen), shared_heads.PART, seen.batch, head_losses, arguments.out, config)


if __name__ == "__main__":
    main()
