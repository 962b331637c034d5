"""Teach one view of a face what two say: python -m model.training.train_descriptor WEIGHTS --out RUN.

Before it a descriptor is the mean of a chip's and of its mirror image's: every face passes the network twice. Here the
end of stage 5, stages 6 and 7 and the layer after them learn to say of a chip alone what the network says of that very
chip and its mirror image. No label is read, and no descriptor of one chip is taught for another: the pupil imitates a
function, which it can learn of any picture. Chips are therefore moved, turned, blurred, darkened and mixed with others.

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

from model import checkpoint
from model.datasets import Array, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.frozen import compiled

PART = "descriptor_stages"
"""The name of what learns in the run's own checkpoint."""
LEARNING_UNITS = 2
"""The last units of stage 5, which learn along; those before them do not."""
EXACT_SHARE = 0.25
"""Share of the chips that are not changed."""
JITTER = 0.7
"""How much the other chips are moved: 1 has standard deviations of 4°, 4 % in scale and 2 % in place."""
MIXED_SHARE = 0.25
"""Share of the chips that another one shines through, of at most the same weight: faces of nobody."""
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
    """The stages before DescriptorStages, which do not learn."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network
        self.start = _split(network)[0]

    def forward(self, chips: Tensor) -> Tensor:
        """Chips [K, 3, S, S], 0–255 → maps [K, C, H, W]."""
        maps: Tensor = self.start(self.network.trunk(chips, 4)[-1])
        return maps


class _Teacher(nn.Module):
    """Chips [K, 3, S, S] → the maps of FixedStages, and descriptors [K, 512] of each chip alone."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.fixed = FixedStages(network)
        self.descriptors = DescriptorStages(network)

    def forward(self, chips: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.fixed(chips)
        return maps, self.descriptors(maps)


def _split(network: AllInOne) -> tuple[nn.Module, nn.Module]:
    """Return the units of stage 5 that do not learn, and those that do."""
    units = list(network.stages[4].children())
    return nn.Sequential(*units[:-LEARNING_UNITS]), nn.Sequential(*units[-LEARNING_UNITS:])


@dataclass(frozen=True)
class TaughtViews:
    """Batches of chips and of their mirror images, with what is taught of both.

    `teacher` makes of chips uint8 [K, 3, S, S] the maps of FixedStages and descriptors [K, 512] of unit length.
    """

    faces: AlignedFaces
    teacher: Callable[[Tensor], list[Array]]

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` views, an even number: chips of half as many different faces, then their mirror images.

        `maps` [count, C, H, W] are those of FixedStages; `taught` [count, 512] are the directions between the
        descriptors of chip and mirror image. There are fewer views where there are fewer faces.
        """
        every = len(self.faces.samples)
        chips = _mixed(self._chips(rng.choice(every, min(count // 2, every), replace=False), rng), rng)
        maps, descriptors = self.teacher(torch.cat([chips, chips.flip(3)]))
        of_chips, of_mirror_images = torch.from_numpy(descriptors).chunk(2)
        taught = F.normalize(of_chips + of_mirror_images)
        return {"maps": torch.from_numpy(maps), "taught": torch.cat([taught, taught])}

    def _chips(self, rows: Array, rng: np.random.Generator) -> Tensor:
        """Return chips of the faces, the first as they are, the others changed at random."""
        exact = round(EXACT_SHARE * len(rows))
        changed = self.faces.changed(rows[exact:].tolist(), rng)["crops"]
        return torch.cat([self.faces.exact(rows[:exact].tolist())["crops"], changed]) if exact else changed


def _mixed(chips: Tensor, rng: np.random.Generator) -> Tensor:
    """Return uint8 chips [K, 3, S, S] of which MIXED_SHARE have another of them shining through."""
    weights = np.where(rng.random(len(chips)) < MIXED_SHARE, rng.uniform(0.5, 1, len(chips)), 1)
    own = torch.from_numpy(weights.astype(np.float32))[:, None, None, None]
    others = chips[torch.from_numpy(rng.permutation(len(chips)))]
    return torch.lerp(others.float(), chips.float(), own).round().to(torch.uint8)


def losses(stages: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return how far descriptors are from those to learn, and their similarities from the similarities of those."""
    found = stages(batch["maps"].contiguous(memory_format=torch.channels_last))
    taught = batch["taught"]
    apart = 1 - (found * taught).sum(dim=1).mean()
    difference = found @ found.T - taught @ taught.T
    pairs = len(found) * max(len(found) - 1, 1)
    return {"descriptors": apart, "similarities": SIMILARITY_WEIGHT * difference.square().sum() / pairs}


def taught_views(network: AllInOne, faces: AlignedFaces, threads: int) -> TaughtViews:
    """Return batches of the faces with this network for a teacher. Raises ImportError without OpenVINO."""
    example = torch.zeros(2, 3, faces.size, faces.size, dtype=torch.uint8)
    return TaughtViews(faces, compiled(_Teacher(network), example, threads, "f32"))


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
    parser = run_arguments(__doc__, "stages", FitConfig(1900, 96, 2e-4))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    arguments = parser.parse_args()
    config = begin(arguments)
    loaded = checkpoint.load(arguments.weights)
    network, learnt = checkpoint.build_network(loaded), checkpoint.build_network(loaded)
    photos, empty = mixture.photos(arguments.profiles)
    train = [sample for sample in photos if sample.split == "train"]
    size, frame = network.config.input_size, network.config.frame
    faces = AlignedFaces(train, PhotoStore(photos + empty), size, (), jitter=JITTER, frame=frame)
    views = taught_views(network, faces, arguments.threads or os.cpu_count() or 1)
    stages = DescriptorStages(learnt)
    if arguments.start:
        stages.load_state_dict(checkpoint.load(arguments.start).part(PART))
    fit(stages, PART, views.batch, losses, arguments.out, config)
    result = without_mirror(network, learnt)
    described = {**loaded.config, "network": checkpoint.network_config(result)}
    checkpoint.save(arguments.out / "network.safetensors", {"network": checkpoint.inference_state(result)}, described)


if __name__ == "__main__":
    main()
