"""Teach one view of a face what two networks say of two: python -m model.training.train_descriptor WEIGHTS --out RUN.

Before it a descriptor is the mean of a chip's and of its mirror image's: every face passes the network twice. Here the
end of stage 5, stages 6 and 7 and the layer after them learn to say it of one view, of any view: chips are mirrored,
moved, turned, blurred and darkened at random, while what is taught was said of the face as it is. A second published
network teaches along, which errs elsewhere (model/training/identity_teacher.py). No label is read.

The local branch keeps the stage 5 that it has. RUN/network.safetensors is the network with `mirror` off; its shared
heads, which read stages that have changed, are to be trained anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint
from model.datasets import Array, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.presets import DESCRIPTOR
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.frozen import compiled
from model.training.identity_teacher import IdentityTeacher

PART = "descriptor_stages"
"""The name of what learns in the run's own checkpoint."""
CHUNK = 8
LEARNING_UNITS = 2
"""The last units of stage 5, which learn along; those before them do not."""
EXACT_SHARE = 0.25
"""Share of the views that are only mirrored, or not even that."""
JITTER = 0.7
"""How much the other views are moved: 1 has standard deviations of 4°, 4 % in scale and 2 % in place."""
SIMILARITY_WEIGHT = 100.0
"""Weight of the loss on similarities; that on the descriptors themselves has 1."""


class DescriptorStages(nn.Module):
    """What learns: the end of stage 5, the stages after it and the identity branch, those of the network itself."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        if network.identity is None:
            raise ValueError("the network has no identity branch")
        self.stages = nn.Sequential(_split(network)[1], *network.stages[5:])
        self.identity = network.identity

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [K, C, H, W] of FixedStages → descriptors [K, 512] of unit length."""
        return F.normalize(self.identity(self.stages(maps))["descriptor"])


class FixedStages(nn.Module):
    """The stages before DescriptorStages, which do not learn: chips [K, 3, S, S] → maps [K, C, H, W]."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network
        self.start = _split(network)[0]

    def forward(self, chips: Tensor) -> Tensor:
        """Chips [K, 3, S, S], 0–255 → maps [K, C, H, W]."""
        maps: Tensor = self.start(self.network.trunk(chips, 4)[-1])
        return maps


def _split(network: AllInOne) -> tuple[nn.Module, nn.Module]:
    """Return the units of stage 5 that do not learn, and those that do."""
    units = list(network.stages[4].children())
    return nn.Sequential(*units[:-LEARNING_UNITS]), nn.Sequential(*units[-LEARNING_UNITS:])


@dataclass(frozen=True)
class FaceViews:
    """Views of N training faces, made anew for each batch.

    `taught` float32 [N, 512] are the descriptors to learn, of unit length; `fixed` is FixedStages as `compiled` has it.
    """

    faces: AlignedFaces
    taught: Array
    fixed: Callable[[Tensor], list[Array]]

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return a view each of `count` different faces, or of all where there are less.

        `maps` [K, C, H, W] are those of FixedStages, `taught` [K, 512] the descriptors to learn.
        """
        rows = rng.choice(len(self.taught), min(count, len(self.taught)), replace=False)
        exact = round(EXACT_SHARE * len(rows))
        chips = self.faces.exact(rows[:exact].tolist())["crops"]
        chips[::2] = chips[::2].flip(3)
        changed = self.faces.changed(rows[exact:].tolist(), rng)["crops"]
        maps = self.fixed(torch.cat([chips, changed]))[0]
        return {"maps": torch.from_numpy(maps), "taught": torch.from_numpy(self.taught[rows])}


def taught_descriptors(first: Array, second: Array) -> Array:
    """Return descriptors [N, 512] that compare as those of two networks beside each other do, near those of the first.

    `first` [2, N, 512] and `second` [2, N, D] are the networks' descriptors of N faces and of their mirror images, of
    any length. Both networks count alike. The result has unit length: of [N, 512 + D] numbers it keeps the 512 axes
    along which faces differ most, turned so that they lie as near to the first network's as they can (the orthogonal
    Procrustes problem).
    """
    means = _mean_of_views(first)
    both = _unit(np.hstack([means, _mean_of_views(second)]))
    _, axes = np.linalg.eigh(both.T @ both)
    kept = both @ axes[:, ::-1][:, :DESCRIPTOR]
    left, _, right = np.linalg.svd(kept.T @ means)
    return _unit(kept @ (left @ right))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def _mean_of_views(descriptors: Array) -> Array:
    """Return the mean direction [N, D] of both views' descriptors [2, N, D]."""
    return _unit(_unit(descriptors).sum(axis=0))


def losses(stages: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return how far descriptors are from those to learn, and their similarities from the similarities of those."""
    found = stages(batch["maps"].contiguous(memory_format=torch.channels_last))
    taught = batch["taught"]
    apart = 1 - (found * taught).sum(dim=1).mean()
    difference = found @ found.T - taught @ taught.T
    pairs = len(found) * max(len(found) - 1, 1)
    return {"descriptors": apart, "similarities": SIMILARITY_WEIGHT * difference.square().sum() / pairs}


def teach(network: AllInOne, teacher: IdentityTeacher, faces: AlignedFaces, threads: int) -> Array:
    """Return what is taught of all the faces as they are, float32 [N, 512]."""
    example = _example(faces.size)
    models = [compiled(module, example, threads, "f32") for module in (_Descriptor(network), teacher)]
    found: list[list[Array]] = [[] for _ in models]
    for start in tqdm(range(0, len(faces.samples), CHUNK), "faces", unit="batch", mininterval=30.0):
        chips = faces.exact(range(start, min(start + CHUNK, len(faces.samples))))["crops"]
        for rows, model in zip(found, models, strict=True):
            rows.append(np.stack([model(view)[0] for view in (chips, chips.flip(3))]))
    first, second = (np.concatenate(rows, axis=1) for rows in found)
    return taught_descriptors(first, second)


class _Descriptor(nn.Module):
    """Chips [K, 3, S, S] → their descriptors, of any length."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> Tensor:
        descriptor: Tensor = self.network(chips, ("descriptor",))["descriptor"]
        return descriptor


def _example(size: int) -> Tensor:
    return torch.zeros(2, 3, size, size, dtype=torch.uint8)


def face_views(
    network: AllInOne, teacher: IdentityTeacher, faces: AlignedFaces, folder: Path, threads: int
) -> FaceViews:
    """Return views of the faces with what `folder` holds as taught; where it holds nothing, it is made first.

    Raises ValueError where the network's chips are not the second network's.
    """
    if network.config.frame != "arcface":
        raise ValueError("the second network wants chips of the frame 'arcface'")
    path = folder / "taught.npy"
    if not path.is_file():
        np.save(folder / "partial.npy", teach(network, teacher, faces, threads))
        (folder / "partial.npy").replace(path)
    return FaceViews(faces, np.load(path), compiled(FixedStages(network), _example(faces.size), threads, "f32"))


def without_mirror(network: AllInOne, learnt: AllInOne) -> AllInOne:
    """Return a network of one view with the trunk and identity branch of `learnt`; all else is that of `network`.

    Its local branch reads a stage 5 of its own, that of `network`. It has no shared heads.
    """
    result = AllInOne(replace(network.config, mirror=False, local_stages=max(network.config.local_stages, 1)))
    state = checkpoint.inference_state(network)
    own = {name.replace("stages.4.", "local_stages.0.", 1): values for name, values in state.items()}
    own = {name: values for name, values in own.items() if name.startswith("local_stages.")}
    learnt_state = checkpoint.inference_state(learnt)
    trunk = {name: values for name, values in learnt_state.items() if name.startswith(("stages.", "identity."))}
    result.load_state_dict({**own, **state, **trunk})
    return result.eval()


def main() -> None:
    """Teach the network that the arguments name."""
    parser = run_arguments(__doc__, "stages", FitConfig(4000, 96, 4e-4))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--teacher", type=Path, help="arrays of the second network (default: the shared folder's)")
    arguments = parser.parse_args()
    config = begin(arguments)
    loaded = checkpoint.load(arguments.weights)
    network, learnt = checkpoint.build_network(loaded), checkpoint.build_network(loaded)
    photos, empty = mixture.photos(arguments.profiles)
    train = [sample for sample in photos if sample.split == "train"]
    size, frame = network.config.input_size, network.config.frame
    faces = AlignedFaces(train, PhotoStore(photos + empty), size, (), jitter=JITTER, frame=frame)
    threads = arguments.threads or os.cpu_count() or 1
    views = face_views(network, IdentityTeacher.read(arguments.teacher), faces, arguments.out, threads)
    stages = DescriptorStages(learnt)
    if arguments.start:
        stages.load_state_dict(checkpoint.load(arguments.start).part(PART))
    fit(stages, PART, views.batch, losses, arguments.out, config)
    result = without_mirror(network, learnt)
    described = {**loaded.config, "network": checkpoint.network_config(result)}
    checkpoint.save(arguments.out / "network.safetensors", {"network": checkpoint.inference_state(result)}, described)


if __name__ == "__main__":
    main()
