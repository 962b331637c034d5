"""Teach the first pass to read smaller regions: python -m model.training.train_first_pass WEIGHTS --out RUN.

A region of 80 pixels costs half of one of 112. The local branch of WEIGHTS goes on learning on such regions, from what
WEIGHTS says of the same regions at its own size and from the photos' labels; the trunk stays as it is. RUN gets
`network.safetensors`, the network of WEIGHTS with this branch in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model import checkpoint, tasks
from model import landmarks as markup
from model.datasets import regions
from model.datasets.loaders import Batch, Loader
from model.datasets.mixture import RegionsConfig, training_regions
from model.datasets.regions import Hardships
from model.datasets.repeated import Repeated
from model.network import AllInOne
from model.training.fit import FitConfig, begin, fit, half_precision, run_arguments
from model.training.frozen import FrozenTrunk, compiled

SIDE = 80
REGIONS = RegionsConfig(
    negatives=0.4,
    weights={"helen": 8.0, "utkface": 0.12, "celeba_aligned_small": 0.3, "aside": 1.5, "profiles": 1.5},
    hardships=Hardships(turned=0.2, covered=0.15, harmed=0.15),
)
DRAWN = 1000
"""Batches that are drawn and then used again and again: drawing regions takes longer than learning them."""
LABELLED = 0.3
"""Share of the labels in the losses of landmarks, visibility and pose; the rest is the share of what WEIGHTS says."""
FACE = 0.5
"""Chance of a face that WEIGHTS gives a region from which its landmarks, visibility and pose are learnt."""
LOSS_WEIGHTS = {"detection": 1.0, "landmarks": 20.0, "visibility": 2.0, "pose": 5.0}
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_LINEAR)
"""Regions are made smaller by either of them, at random: the pipeline cuts them by the second, from a photo that the
first may have made smaller before."""


class LocalTasks(nn.Module):
    """The part of a network that learns: its local branch and the heads of the local tasks."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.local = network.local
        self.local_heads = network.local_heads

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """Maps of stages 1–5 → raw outputs [K, n] by task, in float32."""
        with half_precision():
            features = self.local(maps[0], maps[2], maps[4])
        return {name: head(features.float()) for name, head in self.local_heads.items()}


class Teacher(nn.Module):
    """What a network says of regions."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        """Regions uint8 [K, 3, S, S] → raw outputs [K, n] of the local tasks, in the order of the configuration."""
        outputs = self.network(crops, self.network.config.local)
        return tuple(outputs[name] for name in self.network.config.local)


def taught(draw: Loader, teach: Callable[[Tensor], dict[str, Tensor]]) -> Loader:
    """Return a loader of the same regions that adds what a teacher says of them, as taught_TASK."""

    def batch(count: int, rng: np.random.Generator) -> Batch:
        drawn = draw(count, rng)
        return drawn | {f"taught_{name}": values for name, values in teach(drawn["crops"]).items()}

    return batch


def smaller(crops: Tensor, side: int, rng: np.random.Generator) -> Tensor:
    """Return crops uint8 [K, 3, S, S] in `side` pixels a side, each by one of INTERPOLATIONS."""
    pictures = crops.permute(0, 2, 3, 1).numpy()
    resized = [
        cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=int(rng.choice(INTERPOLATIONS)))
        for picture in pictures
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2)


def mirrored(batch: Batch) -> Batch:
    """Return regions, labels and the teacher's answers as a mirror shows them."""
    order = list(markup.MIRROR)
    points = batch["taught_landmarks"].view(-1, markup.COUNT, 2)[:, order] * torch.tensor([-1.0, 1.0])
    roll_and_yaw = torch.tensor([-1.0, 1.0, 1.0, -1.0])  # of the roll's sine and cosine, the pitch and the yaw
    return regions.mirrored(batch) | {
        "taught_landmarks": points.flatten(1),
        "taught_visibility": batch["taught_visibility"][:, order],
        "taught_pose": batch["taught_pose"] * roll_and_yaw,
    }


def with_region_side(network: AllInOne, side: int) -> AllInOne:
    """Return a network of the same weights whose local branch reads regions of another side.

    Its first full layer gets the old one's weights, interpolated between the cells of the map that it reads.
    """
    changed = AllInOne(replace(network.config, region_size=side, subjects=0))
    state = network.state_dict()
    width = network.config.fuse_width
    old = state["local.fc.weight"].view(network.config.local_width, width, -1)
    cells = round(old.shape[2] ** 0.5)
    new = round((changed.local.fc.in_features / width) ** 0.5)
    maps = old.view(*old.shape[:2], cells, cells)
    resized = F.interpolate(maps, (new, new), mode="bilinear", antialias=True) * (cells / new) ** 2
    weights = {name: value for name, value in state.items() if name in changed.state_dict()}
    changed.load_state_dict(weights | {"local.fc.weight": resized.flatten(1)})
    return changed


def losses(local: LocalTasks, batch: Batch, trunk: FrozenTrunk) -> dict[str, Tensor]:
    """Return the losses by task, partly against the labels and partly against the teacher's answers."""
    outputs = local(trunk(batch["crops"]))
    answers = {name: batch[f"taught_{name}"] for name in outputs}
    chance = tasks.read_class(answers["detection"])
    unknown = (chance < FACE)[:, None]
    every = torch.ones(len(chance), markup.COUNT)
    points = answers["landmarks"].masked_fill(unknown, np.nan).view(-1, markup.COUNT, 2)
    of_teacher = {
        "detection": tasks.class_loss(outputs["detection"], chance),
        "landmarks": tasks.landmark_loss(outputs["landmarks"], points, every, "wing"),
        "visibility": tasks.euclidean_loss(outputs["visibility"], answers["visibility"].masked_fill(unknown, np.nan)),
        "pose": tasks.euclidean_loss(outputs["pose"], answers["pose"].masked_fill(unknown, np.nan)),
    }
    of_labels = tasks.losses(outputs, batch, tasks.LossConfig(landmarks="wing"))
    return {name: LOSS_WEIGHTS[name] * torch.lerp(of_teacher[name], of_labels[name], LABELLED) for name in of_teacher}


def main() -> None:
    """Train the local branch that the arguments describe."""
    parser = run_arguments(__doc__, "local branch", FitConfig(5000, 64, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network that teaches")
    parser.add_argument("--side", type=int, default=SIDE, help="of the regions, in pixels: a multiple of 8")
    parser.add_argument("--hard", type=Path, help="what model.tools.mine_hard_examples wrote")
    parser.add_argument("--drawn", type=int, default=DRAWN, help="batches that are drawn and then used again")
    arguments = parser.parse_args()
    config = begin(arguments)
    loaded = checkpoint.load(arguments.weights)
    teacher = checkpoint.build_network(loaded)
    start = checkpoint.build_network(checkpoint.load(arguments.start)) if arguments.start else teacher
    network = with_region_side(start, arguments.side)
    threads = arguments.threads or os.cpu_count() or 1
    names = network.config.local
    size = teacher.config.input_size
    ask = compiled(Teacher(teacher), torch.zeros(2, 3, size, size, dtype=torch.uint8), threads, "f32")

    def teach(crops: Tensor) -> dict[str, Tensor]:
        return {name: torch.from_numpy(value) for name, value in zip(names, ask(crops), strict=True)}

    trunk = FrozenTrunk(network, names, threads)
    drawn = training_regions(REGIONS, size, arguments.hard, arguments.profiles).batch
    repeated = Repeated(taught(drawn, teach), arguments.drawn, mirrored)

    def draw(count: int, rng: np.random.Generator) -> Batch:
        batch = repeated.batch(count, rng)
        return batch | {"crops": smaller(batch["crops"], arguments.side, rng)}

    local = LocalTasks(network).train()
    fit(local, "local_tasks", draw, lambda tasks_, batch: losses(tasks_, batch, trunk), arguments.out, config)
    described = loaded.config | {"network": checkpoint.network_config(network)}
    parts = {"network": checkpoint.inference_state(network)}
    checkpoint.save(arguments.out / "network.safetensors", parts, described)


if __name__ == "__main__":
    main()
