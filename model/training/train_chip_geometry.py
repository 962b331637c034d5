"""Train landmarks, visibility and pose of the chip: python -m model.training.train_chip_geometry WEIGHTS --out RUN.

Nothing of the network of WEIGHTS learns, so what it makes of --views chips of training faces is kept in RUN, and the
heads learn from that (model/chip_geometry.py). Chips are shifted, turned and scaled a little, since the first pass does
not place them exactly either, and some are covered or harmed. Eyes behind the dark glasses that some people wear are
hidden (model/datasets/sunglasses.py). RUN takes 150 kB a chip.

With --start, heads that were trained before go on learning visibility alone, without the labels 'visible' that they
doubt; their landmarks and pose stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint, chip_geometry
from model import landmarks as markup
from model.chip_geometry import POINT_UNIT, POSE_UNIT, ChipGeometry
from model.datasets import Array, Sample, mixture, sunglasses
from model.datasets.aligned import AlignedFaces
from model.datasets.covering import KINDS, cover
from model.datasets.harm import harm
from model.datasets.loaders import Batch
from model.datasets.regions import HIDDEN
from model.datasets.store import Photos
from model.network import AllInOne
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.frozen import compiled
from model.training.rows import Rows

CHUNK = 64
VIEWS = 40_000
"""Chips that are kept unless told otherwise."""
SHARES = {
    "helen": 0.4,
    "celeba_wild": 0.22,
    "mtfl_net": 0.22,
    "utkface": 0.06,
    "celeba_aligned_small": 0.04,
    "profiles": 0.08,
}
"""Share of the chips by data set. HELEN's points were marked by people, the others' by networks."""
ASIDE_YAW = 25.0
ASIDE_WEIGHT = 2.0
"""Faces that look ASIDE_YAW degrees or more to a side are drawn so many times as often."""
GLASSES_WEIGHT = 3.0
SUNGLASSES_WEIGHT = 12.0
"""How many times as often faces with glasses are drawn: GLASSES_WEIGHT where the eyes can or may be seen behind them,
SUNGLASSES_WEIGHT where they are hidden, which is about one face in a hundred."""
JITTER = 0.75
"""Of AlignedFaces: standard deviations of 3° and of 3 % in scale, and places moved by 1.5 %."""
COVERED = 0.3
HARMED = 0.15
"""Shares of the chips that are covered (model.datasets.covering, each kind alike) and harmed (model.datasets.harm)."""
MEASURED = 2000
"""Chips that means and deviations of what the heads read are taken of."""
EXACT = 0.1
"""Curvature of the wing loss (Feng et al. 2018), in units of POINT_UNIT: the smaller, the more small errors count."""
POSE_WEIGHT = 0.5
VISIBILITY_WEIGHT = 0.5
DOUBTED = 0.9
"""'Visible' is not learnt any more of landmarks to which heads that go on learning (--start) give a lower chance."""
TRUST = 0.7
"""Exponent of the generalised cross-entropy: towards 0 it becomes the cross-entropy, at 1 it heeds a label that goes
against all others least."""


@dataclass(frozen=True)
class ChipMaps:
    """What the network makes of N chips: maps float16 [N, C, H, W] of stages 3 and 5, and what the chips show.

    `landmarks` [N, 21, 2] are in sides of the chip, `visibility` [N, 21] 0–1, `pose` [N, 3] in degrees; NaN where that
    is not labelled.
    """

    stage3: Array
    stage5: Array
    landmarks: Array
    visibility: Array
    pose: Array

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return the maps of `count` random chips and what the chips show, by the names of the fields above."""
        rows = np.sort(rng.integers(len(self.landmarks), size=count))
        arrays = {name: getattr(self, name)[rows] for name in ("stage3", "stage5", "landmarks", "visibility", "pose")}
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}

    @torch.inference_mode()
    def without_doubted(self, heads: ChipGeometry) -> ChipMaps:
        """Return these maps without the labels 'visible' (NaN instead) that the heads doubt (DOUBTED).

        Chips that have hidden landmarks, but for ears, keep all labels: where something was drawn, they are known.
        """
        visibility = self.visibility.copy()
        for start in range(0, len(visibility), CHUNK):
            maps = (torch.from_numpy(m[start : start + CHUNK].astype(np.float32)) for m in (self.stage3, self.stage5))
            chances = heads(*maps)["visibility"].numpy()
            labels = visibility[start : start + CHUNK]
            all_seen = (np.delete(labels, markup.EARS, axis=1) >= 0.5).all(axis=1, keepdims=True)
            labels[all_seen & (labels >= 0.5) & (chances < DOUBTED)] = np.nan
        return replace(self, visibility=visibility)


class _ReadStages(nn.Module):
    """Chips [K, 3, S, S] → the maps of stages 3 and 5."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.trunk(chips, 5)
        return maps[2], maps[4]


def chip_maps(
    network: AllInOne, samples: Sequence[Sample], photos: Photos, folder: Path, views: int, seed: int, threads: int
) -> ChipMaps:
    """Return the maps that `folder` holds; if it holds none, compute them of `views` chips of the samples first.

    Raises ValueError when no sample has 21 landmarks, ImportError without OpenVINO.
    """
    paths = {name: folder / f"{name}.npy" for name in ("stage3", "stage5")}
    labels_path = folder / "labels.npz"
    if not labels_path.is_file():
        size = network.config.input_size
        labels = ("landmarks", "visibility", "pose")
        samples = [sunglasses.labelled(sample, photos[sample]) for sample in samples]
        faces = AlignedFaces(samples, photos, size, labels, jitter=JITTER, frame=network.config.frame)
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(faces.samples), views, p=_chances(faces.samples))
        rows = {name: Rows(path, views) for name, path in paths.items()}
        read = compiled(_ReadStages(network), torch.zeros(2, 3, size, size, dtype=torch.uint8), threads, "f32")
        shown: list[Batch] = []
        starts = range(0, views, CHUNK)
        for start in tqdm(starts, "chips", unit="batch", mininterval=30.0):
            batch = _hardened(faces.changed(chosen[start : start + CHUNK].tolist(), rng), rng)
            for name, maps in zip(paths, read(batch.pop("crops")), strict=True):
                rows[name].append(maps)
            shown.append(batch)
        arrays = {name: torch.cat([batch[name] for batch in shown]).numpy() for name in labels}
        arrays["landmarks"] /= size
        np.savez(labels_path, **arrays)  # type: ignore[arg-type]
    with np.load(labels_path) as labelled:
        return ChipMaps(**{name: np.load(path, mmap_mode="r") for name, path in paths.items()}, **labelled)


def _chances(samples: Sequence[Sample]) -> Array:
    """Return how likely each sample is drawn: by SHARES, those that look aside or wear glasses more often."""
    weights = np.array([_weight(sample) for sample in samples])
    sources = np.array([sample.source for sample in samples])
    chances = np.zeros(len(samples))
    for source in np.unique(sources):
        mine = sources == source
        chances[mine] = SHARES.get(source, 0.05) * weights[mine] / weights[mine].sum()
    normalised: Array = chances / chances.sum()
    return normalised


def _weight(sample: Sample) -> float:
    """Return how many times as often as others of its set the sample is drawn."""
    weight = ASIDE_WEIGHT if sample.pose is not None and abs(sample.pose[2]) >= ASIDE_YAW else 1.0
    if sample.glasses != 1:
        return weight
    return weight * (SUNGLASSES_WEIGHT if sunglasses.hides_eyes(sample) else GLASSES_WEIGHT)


def _hardened(batch: Batch, rng: np.random.Generator) -> Batch:
    """Return chips of which some are covered and some harmed; what is covered is not visible any more."""
    for crop, points, visibility in zip(batch["crops"], batch["landmarks"], batch["visibility"], strict=True):
        chip = np.ascontiguousarray(crop.permute(1, 2, 0).numpy())
        if rng.random() < COVERED:
            kind = str(rng.choice(KINDS))
            chip, seen = cover(chip, points.numpy(), visibility.numpy(), rng, kind)
            visibility.copy_(torch.from_numpy(seen))
        if rng.random() < HARMED:
            chip = harm(chip, rng)
        crop.copy_(torch.from_numpy(chip).permute(2, 0, 1))
    return batch


def geometry_losses(heads: ChipGeometry, batch: Batch) -> dict[str, Tensor]:
    """Return the losses by name, of visibility and pose where they are labelled.

    They are the wing loss of the landmarks, hidden ones counting HIDDEN, the loss of the visibility as
    _visibility_losses() has it, and the smooth L1 loss of the pose.
    """
    outputs = heads(batch["stage3"], batch["stage5"])
    errors = (outputs["landmarks"] - batch["landmarks"]).abs().mul(1 / POINT_UNIT)
    near = torch.log1p(errors / EXACT) / np.log1p(1 / EXACT)
    wing = torch.where(errors < 1, near, errors)
    seen = HIDDEN + (1 - HIDDEN) * batch["visibility"].nan_to_num(1.0)
    known = ~batch["pose"].isnan().any(dim=1)
    pose = F.smooth_l1_loss(outputs["pose"][known] / POSE_UNIT, batch["pose"][known] / POSE_UNIT, beta=0.1)
    labelled = ~batch["visibility"].isnan()
    visibility = _visibility_losses(outputs["visibility"][labelled], batch["visibility"][labelled]).mean()
    return {
        "landmarks": (wing * seen[:, :, None]).mean(),
        "visibility": VISIBILITY_WEIGHT * visibility.nan_to_num(),
        "pose": POSE_WEIGHT * pose.nan_to_num(),
    }


def _visibility_losses(chances: Tensor, labels: Tensor) -> Tensor:
    """Return the losses [N] of chances [N] that landmarks are visible, by their labels [N], 0–1.

    Who or what labelled the photos took all that faces the camera for visible, sunglasses or not; only what was drawn
    over a face is known to hide it. So 'hidden' is learnt by cross-entropy, and 'visible' by generalised cross-entropy
    (Zhang and Sabuncu 2018), which gives way where the label goes against everything else.
    """
    hidden = -torch.log1p(-chances.clamp(max=1 - 1e-6))
    visible = (1 - chances.clamp(min=1e-6) ** TRUST) / TRUST
    return torch.lerp(hidden, visible, labels)


def main() -> None:
    """Train the heads that the arguments describe."""
    parser = run_arguments(__doc__, "chip geometry", FitConfig(1500, 128, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--views", type=int, default=VIEWS, help="chips that are kept")
    arguments = parser.parse_args()
    config = begin(arguments)
    network = checkpoint.build_network(checkpoint.load(arguments.weights))
    samples, photos = mixture.training_faces(arguments.profiles)
    threads = arguments.threads or os.cpu_count() or 1
    maps = chip_maps(network, samples, photos, arguments.out, arguments.views, arguments.seed, threads)
    if arguments.start:
        heads = ChipGeometry.of_weights(checkpoint.load(arguments.start).part(chip_geometry.PART))
        maps = maps.without_doubted(heads.eval())
        heads.train().requires_grad_(False)
        heads.heads["visibility"].requires_grad_(True)
    else:
        heads = ChipGeometry((maps.stage3.shape[1], maps.stage5.shape[1]))
        shown = maps.batch(MEASURED, np.random.default_rng(arguments.seed))
        heads.standardise(shown["stage3"], shown["stage5"], shown["landmarks"])
    fit(heads, chip_geometry.PART, maps.batch, geometry_losses, arguments.out, config)


if __name__ == "__main__":
    main()
