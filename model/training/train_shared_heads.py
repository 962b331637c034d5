"""Train the second readings of age, gender, smile, pose: python -m model.training.train_shared_heads WEIGHTS --out RUN.

Nothing of the network of WEIGHTS learns, so what it makes of the training faces is kept in RUN, and the heads learn
from that: minutes instead of hours (model/shared_heads.py). Each face goes through the network as it is and --views
times changed at random, since a head on whole maps soon knows by heart what it always sees alike. RUN takes some 5 GB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint, shared_heads, tasks
from model.datasets import Array, Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import Photos
from model.network import AllInOne
from model.shared_heads import POSE_UNIT, SharedHeads
from model.tasks import LossConfig
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.frozen import compiled
from model.training.rows import Rows

CHUNK = 64
VIEWS = 3
"""Changed views that are kept of each face with one of LABELS beside the face as it is, unless told otherwise."""
MEASURED = 2000
"""Faces that means and deviations of what the heads read are taken of."""
LABELS = ("age", "female", "smile")
LOSSES = LossConfig(age_lambda=1.0, age_sigma=5.0)


@dataclass(frozen=True)
class StageOutputs:
    """What the network makes of N faces as they are, then of changed views of the first of them, M in all.

    Those first, of which there are equally many views, are the faces with one of LABELS. `stage6` [M, C, H, W] and
    `descriptors` [M, 512] are of all M, `stage5` [S, C, H, W] of those with a label of their smile, in the same order;
    all are float16. `labels` are of the faces, NaN where there is none: LABELS [N], and `pose` [N, 3], roll, pitch and
    yaw in degrees, the roll as the chip shows it.
    """

    stage5: Array
    stage6: Array
    descriptors: Array
    labels: dict[str, Array]

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` random faces, half of them as they are, and half as many with a smile.

        The latter are `smiling_stage5` and `smiling`. The pose is NaN of changed views, since a view changes it.
        """
        faces = len(self.labels["age"])
        exact = count // 2
        rows = np.sort(rng.integers(faces, size=exact))
        rows = np.concatenate([rows, np.sort(rng.integers(faces, len(self.stage6), size=count - exact))])
        viewed = int(np.isfinite(np.stack([self.labels[name] for name in LABELS])).any(axis=0).sum())
        shown = np.where(rows < faces, rows, (rows - faces) % max(viewed, 1))
        batch = {name: values[shown] for name, values in self.labels.items() if name != "smile"}
        batch["pose"][exact:] = np.nan
        smiles = self.labels["smile"][np.isfinite(self.labels["smile"])]
        smiling = np.sort(rng.integers(len(self.stage5), size=exact))
        batch |= {"stage6": self.stage6[rows], "descriptor": self.descriptors[rows]}
        batch |= {"smiling_stage5": self.stage5[smiling], "smiling": smiles[smiling % len(smiles)]}
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in batch.items()}


class _ReadStages(nn.Module):
    """Chips [K, 3, S, S] → what the heads read of them: the maps of stages 5 and 6, and the descriptor."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps = self.network.trunk(chips, 7)
        return maps[4], maps[5], self.network.branches(maps, ("descriptor",))["descriptor"]


def stage_outputs(
    network: AllInOne,
    samples: Sequence[Sample],
    photos: Photos,
    folder: Path,
    seed: int = 0,
    changed: int = VIEWS,
    threads: int = 1,
) -> StageOutputs:
    """Return the outputs that `folder` holds; if it holds none, compute them of all samples with 21 landmarks first.

    Of each face with a label there are `changed` views beside it as it is.

    Raises ValueError when there is no such sample, ImportError without OpenVINO.
    """
    paths = {name: folder / f"{name}.npy" for name in ("stage5", "stage6", "descriptors")}
    labels_path = folder / "labels.npz"
    if not labels_path.is_file():
        ordered = sorted(samples, key=lambda sample: not _labelled(sample))
        faces = AlignedFaces(ordered, photos, network.config.input_size, LABELS, frame=network.config.frame)
        labels = _labels(faces)
        views = len(faces.samples) + changed * sum(map(_labelled, faces.samples))
        smiling = (1 + changed) * int(np.isfinite(labels["smile"]).sum())
        rows = {name: Rows(path, smiling if name == "stage5" else views) for name, path in paths.items()}
        example = torch.zeros(2, 3, faces.size, faces.size, dtype=torch.uint8)
        read = compiled(_ReadStages(network), example, threads, "f32")
        for batch in tqdm(_views(faces, changed, np.random.default_rng(seed)), "views", unit="batch", mininterval=30.0):
            stage5, stage6, descriptors = read(batch["crops"])
            rows["stage5"].append(stage5[~batch["smile"].isnan().numpy()])
            rows["stage6"].append(stage6)
            rows["descriptors"].append(descriptors)
        np.savez(labels_path, **labels)  # type: ignore[arg-type]
    with np.load(labels_path) as labelled:
        return StageOutputs(
            **{name: np.load(path, mmap_mode="r") for name, path in paths.items()}, labels=dict(labelled)
        )


def _labels(faces: AlignedFaces) -> dict[str, Array]:
    labels = {name: np.array([getattr(s, name) for s in faces.samples], np.float32) for name in LABELS}
    poses = np.stack([np.full(3, np.nan) if s.pose is None else s.pose for s in faces.samples])
    turns = np.rad2deg(np.arctan2(faces.matrices[:, 1, 0], faces.matrices[:, 0, 0]))
    poses[:, 0] = (poses[:, 0] + turns + 180) % 360 - 180
    return labels | {"pose": poses.astype(np.float32)}


def _views(faces: AlignedFaces, changed: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield all faces as they are, then `changed` times those with a label changed; those come first."""
    yield from map(faces.exact, _chunks(len(faces.samples)))
    for _ in range(changed):
        for chunk in _chunks(sum(map(_labelled, faces.samples))):
            yield faces.changed(chunk, rng)


def _chunks(count: int) -> list[range]:
    return [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]


def _labelled(sample: Sample) -> bool:
    return any(np.isfinite(getattr(sample, name)) for name in LABELS)


def new_heads(network: AllInOne, outputs: StageOutputs) -> SharedHeads:
    """Return untrained heads for a network, which know mean and deviation of what they will read.

    Raises ValueError for a network whose age is one number: only chances of ages can be mixed.
    """
    if network.config.ages == 1:
        raise ValueError("second readings need a network that tells the chances of all ages")
    stage5, stage6, descriptors = (
        torch.from_numpy(values[:MEASURED].astype(np.float32))
        for values in (outputs.stage5, outputs.stage6, outputs.descriptors)
    )
    read = shared_heads.features(stage6, descriptors)
    heads = SharedHeads(read.shape[1], network.config.ages, (stage5.shape[1], stage6.shape[1]))
    heads.mean.copy_(read.mean(dim=0))
    heads.deviation.copy_(read.std(dim=0) + 0.05)
    heads.stage5.standardise(stage5)
    heads.stage6.standardise(stage6)
    return heads


def head_losses(heads: SharedHeads, batch: Batch) -> dict[str, Tensor]:
    """Losses of the second readings, each head's for itself; of the pose smooth L1, in units of POSE_UNIT."""
    of_features = heads.read_features(batch["stage6"], batch["descriptor"])
    of_maps = heads.stage6(batch["stage6"])
    known = ~batch["pose"].isnan().any(dim=1)
    pose = F.smooth_l1_loss(of_features.pop("pose")[known], batch["pose"][known] / POSE_UNIT, beta=0.1)
    smile = tasks.losses(heads.stage5(batch["smiling_stage5"]), {"smile": batch["smiling"]}, LOSSES)
    second = {f"{name}_of_maps": loss for name, loss in tasks.losses(of_maps, batch, LOSSES).items()}
    return tasks.losses(of_features, batch, LOSSES) | second | smile | {"pose": pose.nan_to_num()}


def main() -> None:
    """Train the heads that the arguments describe."""
    parser = run_arguments(__doc__, "shared heads", FitConfig(6000, 192, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--views", type=int, default=VIEWS, help="changed views of each face with a label")
    arguments = parser.parse_args()
    config = begin(arguments)
    network = checkpoint.build_network(checkpoint.load(arguments.weights))
    samples, photos = mixture.training_faces(arguments.profiles)
    threads = arguments.threads or os.cpu_count() or 1
    outputs = stage_outputs(network, samples, photos, arguments.out, arguments.seed, arguments.views, threads)
    heads = new_heads(network, outputs)
    if arguments.start:
        heads = SharedHeads.of_weights(checkpoint.load(arguments.start).part(shared_heads.PART))
    fit(heads, shared_heads.PART, outputs.batch, head_losses, arguments.out, config)


if __name__ == "__main__":
    main()
