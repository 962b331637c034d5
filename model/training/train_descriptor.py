"""Teach one view of a face what two views say: python -m model.training.train_descriptor WEIGHTS --out RUN.

Before it a descriptor is the mean of a chip's and of its mirror image's: every face passes the network twice. Here
stages 6 and 7 and the layer after them learn to compare faces by either view alone as both views together do, and as a
second published network does beside them, which errs elsewhere (model/training/identity_teacher.py). No label is read.
RUN/network.safetensors is the network with `mirror` off.

The stages before do not learn, so what they make of the training faces is kept in RUN: some 3 GB.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint
from model.datasets import Array, Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import Photos, PhotoStore
from model.network import AllInOne
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.frozen import compiled
from model.training.identity_teacher import IdentityTeacher

PART = "descriptor_stages"
"""The name of what learns in the run's own checkpoint."""
CHUNK = 8
SHARED_STAGES = 5
"""Stages that do not learn, since other branches read them."""
SECOND_SHARE = 0.7
"""Length of the second network's descriptor in what is taught, that of the first being 1."""
SIMILARITY_WEIGHT = 100.0
"""Weight of the loss on similarities; that on the descriptors themselves has 1 and keeps their meaning."""


@dataclass(frozen=True)
class FaceViews:
    """N training faces as they are and as a mirror shows them.

    `maps` float16 [2, N, C, H, W] are those of stage 5, `first` float32 [2, N, 512] and `second` [2, N, 192] the
    descriptors of the network that learns, as it was before, and of the second one.
    """

    maps: Array
    first: Array
    second: Array

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` different faces, or all where there are less, each in one of its views.

        `first` [K, 512] and `both` [K, 704] are the descriptors to learn, of unit length.
        """
        faces = self.maps.shape[1]
        rows = np.sort(rng.choice(faces, min(count, faces), replace=False))
        first = _mean_of_views(self.first[:, rows])
        both = np.hstack([first, SECOND_SHARE * _mean_of_views(self.second[:, rows])])
        views = rng.integers(2, size=len(rows))
        maps = np.stack([self.maps[view, row] for view, row in zip(views, rows, strict=True)])
        arrays = {"maps": maps, "first": first, "both": _unit(both)}
        return {name: torch.from_numpy(values.astype(np.float32)) for name, values in arrays.items()}


class DescriptorStages(nn.Module):
    """The stages after SHARED_STAGES of a network, and its identity branch."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        if network.identity is None:
            raise ValueError("the network has no identity branch")
        self.stages = network.stages[SHARED_STAGES:]
        self.identity = network.identity

    def forward(self, maps: Tensor) -> Tensor:
        """Stage 5's maps [K, C, H, W] → descriptors [K, 512] of unit length."""
        for stage in self.stages:
            maps = stage(maps)
        return F.normalize(self.identity(maps)["descriptor"])


class _SharedStages(nn.Module):
    """Chips [K, 3, S, S] → the map of the last stage that does not learn, and the descriptor."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.trunk(chips, len(self.network.stages))
        return maps[SHARED_STAGES - 1], self.network.branches(maps, ("descriptor",))["descriptor"]


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def _mean_of_views(descriptors: Array) -> Array:
    """Return the mean direction [N, D] of both views' descriptors [2, N, D]."""
    return _unit(_unit(descriptors).sum(axis=0))


def losses(stages: DescriptorStages, batch: Batch) -> dict[str, Tensor]:
    """Return how far descriptors are from those to learn, and their similarities from those of both networks."""
    found = stages(batch["maps"].contiguous(memory_format=torch.channels_last))
    apart = 1 - (found * batch["first"]).sum(dim=1).mean()
    difference = found @ found.T - batch["both"] @ batch["both"].T
    pairs = len(found) * max(len(found) - 1, 1)
    return {"descriptors": apart, "similarities": SIMILARITY_WEIGHT * difference.square().sum() / pairs}


def face_views(
    network: AllInOne, teacher: IdentityTeacher, samples: Sequence[Sample], photos: Photos, folder: Path, threads: int
) -> FaceViews:
    """Return the views that `folder` holds; if it holds none, make those of all samples with 21 landmarks first.

    Raises ValueError when there is no such sample, or where the network's chips are not the second network's.
    """
    if network.config.frame != "arcface":
        raise ValueError("the second network wants chips of the frame 'arcface'")
    paths = {name: folder / f"{name}.npy" for name in ("maps", "first", "second")}
    if not paths["second"].is_file():
        faces = AlignedFaces(samples, photos, network.config.input_size, (), frame=network.config.frame)
        example = torch.zeros(2, 3, faces.size, faces.size, dtype=torch.uint8)
        models = [compiled(module, example, threads, "f32") for module in (_SharedStages(network), teacher)]
        views = [_outputs(models, faces, mirrored) for mirrored in (False, True)]
        for index, name in enumerate(paths):
            np.save(folder / "partial.npy", np.stack([view[index] for view in views]))
            (folder / "partial.npy").replace(paths[name])
    return FaceViews(**{name: np.load(path, mmap_mode="r") for name, path in paths.items()})


def _outputs(models: Sequence[Callable[[Tensor], list[Array]]], faces: AlignedFaces, mirrored: bool) -> list[Array]:
    """Return all outputs of the models for one view of each face, maps in float16."""
    rows: list[list[Array]] = []
    for start in tqdm(range(0, len(faces.samples), CHUNK), "views", unit="batch", mininterval=30.0):
        chips = faces.exact(range(start, min(start + CHUNK, len(faces.samples))))["crops"]
        outputs = [output for model in models for output in model(chips.flip(3) if mirrored else chips)]
        rows.append([output.astype(np.float16 if output.ndim == 4 else np.float32) for output in outputs])
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def main() -> None:
    """Teach the network that the arguments name."""
    parser = run_arguments(__doc__, "stages", FitConfig(3000, 96, 2e-4))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--teacher", type=Path, help="arrays of the second network (default: the shared folder's)")
    arguments = parser.parse_args()
    config = begin(arguments)
    loaded = checkpoint.load(arguments.weights)
    network = checkpoint.build_network(loaded)
    faces, empty = mixture.photos(arguments.profiles)
    train = [sample for sample in faces if sample.split == "train"]
    threads = arguments.threads or os.cpu_count() or 1
    teacher = IdentityTeacher.read(arguments.teacher)
    views = face_views(network, teacher, train, PhotoStore(faces + empty), arguments.out, threads)
    stages = DescriptorStages(network)
    if arguments.start:
        stages.load_state_dict(checkpoint.load(arguments.start).part(PART))
    fit(stages, PART, views.batch, losses, arguments.out, config)
    described = {**loaded.config, "network": {**loaded.config["network"], "mirror": False}}
    checkpoint.save(arguments.out / "network.safetensors", {"network": checkpoint.inference_state(network)}, described)


if __name__ == "__main__":
    main()
