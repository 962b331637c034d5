"""Make the deep branches' own stages slimmer: python -m model.training.train_deep_branches WEIGHTS --out RUN.

The stages that age, gender and smile have for themselves are as wide as the trunk's. The inner channels of their units
that count least are left out, and what is left learns to say what WEIGHTS says, of chips that nobody labelled too:
blends of two faces. The trunk stays as it is. RUN gets `network.safetensors`, the network of WEIGHTS with these stages.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model import checkpoint, tasks
from model.datasets import Array, Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch
from model.datasets.store import Photos
from model.mobile import Unit
from model.network import AllInOne
from model.training.fit import FitConfig, begin, fit, half_precision, run_arguments
from model.training.frozen import compiled

SHARE = 0.375
"""Share of the inner channels that is kept: a multiple of 16 channels of every unit of the preset `mobile`."""
LABELS = ("age", "female", "smile")
SHARES = {"utkface": 0.46, "celeba": 0.34, "mtfl": 0.2}
"""Shares of the data sets in a batch."""
BLENDED = 0.5
"""Share of the chips that are blends of two: what WEIGHTS says of them is not known by heart."""
LABELLED = 0.25
"""Share of the labels in the losses; the rest is the share of what WEIGHTS says."""
MEASURED = 256
"""Chips of which the inner channels are measured."""
LOSS_WEIGHTS = {"age": 1.0, "gender": 2.0, "smile": 2.0}
LOSSES = tasks.LossConfig(age_lambda=0.7, age_sigma=5.0)


class DeepTasks(nn.Module):
    """The part of a network that learns: the deep branches' own stages and heads."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.deep_stages = network.deep_stages
        self.deep_heads = network.deep_heads

    def forward(self, start: Tensor) -> dict[str, Tensor]:
        """The trunk's map before these stages → raw outputs [K, n] by task, in float32."""
        with half_precision():
            for stage in self.deep_stages:
                start = stage(start)
        return {name: head(start.float()) for name, head in self.deep_heads.items()}


class Before(nn.Module):
    """What a network's trunk makes of chips before the deep branches, and what these say of it."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> tuple[Tensor, ...]:
        """Chips uint8 [K, 3, S, S] → the map [K, C, H, W], then the deep branches' raw outputs [K, n] in order."""
        config = self.network.config
        before = self.network.trunk(chips, config.deep_end - config.deep_stages)[-1]
        outputs = DeepTasks(self.network)(before)
        return before, *(outputs[name] for name in config.deep)


class Chips:
    """Batches of chips of several data sets, some of them blended, with their labels."""

    def __init__(self, sets: Sequence[AlignedFaces], shares: Sequence[float]) -> None:
        self._sets = sets
        self._shares = shares

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Return `size` chips; blends have no label."""
        counts = rng.multinomial(size, self._shares)
        drawn = [faces.batch(int(count), rng) for faces, count in zip(self._sets, counts, strict=True) if count]
        batch = {name: torch.cat([part[name] for part in drawn]) for name in ("crops", *LABELS)}
        blended = torch.from_numpy(rng.random(size) < BLENDED)
        weight = torch.from_numpy(rng.uniform(0.2, 0.8, size).astype(np.float32))[:, None, None, None]
        others = batch["crops"][torch.from_numpy(rng.permutation(size))]
        blends = torch.lerp(batch["crops"].float(), others.float(), weight).round().to(torch.uint8)
        batch["crops"] = torch.where(blended[:, None, None, None], blends, batch["crops"])
        return batch | {name: batch[name].float().masked_fill(blended, np.nan) for name in LABELS}


def slimmed(network: AllInOne, chips: Tensor, share: float) -> AllInOne:
    """Return the network with that share of its deep stages' inner channels: those that bring most to `chips`."""
    slim = AllInOne(replace(network.config, deep_share=share, subjects=0))
    state = network.state_dict()
    own = slim.state_dict()
    for name, kept in _kept_channels(network, chips, share):
        for layer in ("expand.weight", "expand.bias", "expand_prelu.weight"):
            state[f"{name}.{layer}"] = state[f"{name}.{layer}"][kept]
        for layer in ("depthwise.weight", "depthwise.bias", "depthwise_prelu.weight"):
            state[f"{name}.{layer}"] = state[f"{name}.{layer}"][kept]
        state[f"{name}.project.weight"] = state[f"{name}.project.weight"][:, kept]
    slim.load_state_dict({name: value for name, value in state.items() if name in own})
    return slim


@torch.inference_mode()
def _kept_channels(network: AllInOne, chips: Tensor, share: float) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each unit of the deep stages and the inner channels that stay, in order.

    Those stay that move the unit's output most: by the mean square of what they hold and of their weights after it.
    """
    config = network.config
    x = network.trunk(chips, config.deep_end - config.deep_stages)[-1]
    squares: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            squares[name] = output.square().mean(dim=(0, 2, 3))

        return record

    units = [
        (f"deep_stages.{name}", unit) for name, unit in network.deep_stages.named_modules() if isinstance(unit, Unit)
    ]
    hooks = [unit.depthwise_prelu.register_forward_hook(watch(name)) for name, unit in units]
    for stage in network.deep_stages:
        x = stage(x)
    for hook in hooks:
        hook.remove()
    for name, unit in units:
        weights = unit.project.weight.square().sum(dim=(0, 2, 3))
        count = round(share * len(weights))
        yield name, (squares[name] * weights).topk(count).indices.sort().values


def losses(deep: DeepTasks, batch: Batch, read: Callable[[Tensor], list[Array]]) -> dict[str, Tensor]:
    """Return the losses by task, partly against the labels and partly against what the wide branches say."""
    before, *answers = (torch.from_numpy(values) for values in read(batch["crops"]))
    outputs = deep(before.contiguous(memory_format=torch.channels_last))
    of_labels = tasks.losses(outputs, batch, LOSSES)
    taught = dict(zip(outputs, answers, strict=True))
    of_teacher = {
        "age": -(taught["age"].softmax(dim=1) * outputs["age"].log_softmax(dim=1)).sum(dim=1).mean(),
        "gender": tasks.class_loss(outputs["gender"], tasks.read_class(taught["gender"])),
        "smile": tasks.class_loss(outputs["smile"], tasks.read_class(taught["smile"])),
    }
    return {name: LOSS_WEIGHTS[name] * torch.lerp(of_teacher[name], of_labels[name], LABELLED) for name in of_teacher}


def main() -> None:
    """Train the deep branches that the arguments describe."""
    parser = run_arguments(__doc__, "deep branches", FitConfig(4000, 64, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network that teaches")
    parser.add_argument("--share", type=float, default=SHARE, help="of the inner channels that stay")
    arguments = parser.parse_args()
    config = begin(arguments)
    loaded = checkpoint.load(arguments.weights)
    teacher = checkpoint.build_network(loaded)
    threads = arguments.threads or os.cpu_count() or 1
    samples, photos = mixture.training_faces(arguments.profiles)
    sets = [aligned(samples, photos, name, teacher) for name in SHARES]
    chips = Chips(sets, list(SHARES.values()))
    shown = sets[0].exact(np.linspace(0, len(sets[0].samples) - 1, MEASURED).astype(int).tolist())
    network = slimmed(teacher, shown["crops"], arguments.share)
    size = network.config.input_size
    read = compiled(Before(teacher), torch.zeros(2, 3, size, size, dtype=torch.uint8), threads)
    deep = DeepTasks(network).train()
    fit(deep, "deep_tasks", chips.batch, lambda deep_, batch: losses(deep_, batch, read), arguments.out, config)
    described = loaded.config | {"network": checkpoint.network_config(network)}
    checkpoint.save(arguments.out / "network.safetensors", {"network": checkpoint.inference_state(network)}, described)


def aligned(samples: Sequence[Sample], photos: Photos, name: str, network: AllInOne) -> AlignedFaces:
    """Return the faces of a data set whose name begins so."""
    mine = [sample for sample in samples if sample.source.startswith(name)]
    return AlignedFaces(
        mine,
        photos,
        network.config.input_size,
        LABELS,
        frame=network.config.frame,
        balance_age=0.1 if name == "utkface" else 0.0,
    )


if __name__ == "__main__":
    main()
