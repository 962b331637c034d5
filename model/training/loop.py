"""Training, one loop read top to bottom: what `python -m model.train` runs.

    recipe → data (model.datasets) → network (model.network) → losses (model.tasks) → validation → checkpoint

A run resumes from its folder's state.pt by itself; the best weights so far are best.safetensors, the curve curve.csv.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from math import cos, pi
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.optim import AdamW
from tqdm import tqdm

from model import checkpoint, tasks, teacher
from model.datasets.loaders import Batch, Batches
from model.datasets.prefetch import prefetch
from model.network import AllInOne
from model.presets import PRESETS
from model.tasks import LossConfig
from model.training.frozen import FrozenTrunk
from model.training.recipe import Recipe
from model.training.validate import plot_curve, score, validate


class Run:
    """All that training changes: network, averaged weights, optimiser, step, best score."""

    def __init__(self, recipe: Recipe, network: AllInOne, device: str = "cpu") -> None:
        self.recipe = recipe
        self.device = device
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        shared = {id(parameter) for parameter in network.shared_parameters()}
        own = [parameter for parameter in network.parameters() if id(parameter) not in shared]
        groups = [{"params": own, "base": recipe.lr}, {"params": network.shared_parameters(), "base": recipe.shared_lr}]
        self.optimizer = AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.step = 0
        self.best = float("-inf")
        self.frozen = FrozenTrunk(network, recipe.only, torch.get_num_threads()) if recipe.openvino else None
        self.rank = 0
        self.world = 1
        self.learner: torch.nn.Module = self.network
        if distributed.is_initialized():
            self.rank = distributed.get_rank()
            self.world = distributed.get_world_size()
            # A batch trains the heads of one domain, another on each device: the others' gradients are unused there.
            self.learner = DistributedDataParallel(self.network, broadcast_buffers=False, find_unused_parameters=True)

    def rate(self, step: int) -> float:
        """Learning rate as a share of the base: linear warm-up, constant, cosine decay at the end."""
        recipe = self.recipe
        rising = min(1.0, (step + 1) / max(recipe.warmup, 1))
        left = (recipe.steps - step) / max(recipe.decay, 1)
        return rising * (0.5 - 0.5 * cos(pi * min(left, 1.0)))

    def train_on(self, batches: Sequence[tuple[str, Batch]]) -> dict[str, float]:
        """Take one step on the mean of several batches' losses, on all devices, and return the losses by task.

        Raises FloatingPointError naming a loss that is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["base"] * self.rate(self.step)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        values: dict[str, float] = {}
        for left, (source, batch) in zip(reversed(range(len(batches))), batches, strict=True):
            learner = self.learner
            with learner.no_sync() if left and isinstance(learner, DistributedDataParallel) else nullcontext():
                values |= self._backward(source, batch, len(batches))
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self._average()
        self.step += 1
        return values

    def _backward(self, source: str, batch: Batch, share: int) -> dict[str, float]:
        """Adds a batch's gradient over `share`; its loss by task."""
        recipe = self.recipe
        labels = {key: value.to(self.device, non_blocking=True) for key, value in batch.items() if key != "crops"}
        age_lambda = recipe.age_lambda if self.step >= recipe.age_switch else 0.0
        config = LossConfig(age_lambda=age_lambda, **recipe.loss)
        wanted = [name for name, task in tasks.TASKS.items() if task.label in labels and recipe.learns(name)]
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            if self.frozen:
                outputs = self.network.branches(self.frozen(batch["crops"]), wanted)
            else:
                crops = batch["crops"].to(self.device, non_blocking=True).float()
                outputs = self.learner(crops.contiguous(memory_format=torch.channels_last), wanted)
        parts = tasks.losses({name: outputs[name] for name in wanted if name in outputs}, labels, config)
        loss = tasks.total(parts, recipe.weights)
        if not torch.isfinite(loss):
            values = {name: part.item() for name, part in parts.items()}
            raise FloatingPointError(f"step {self.step}: loss {loss.item()} on a batch of {source}: {values}")
        (loss / share if share > 1 else loss).backward()  # type: ignore[no-untyped-call]
        return {name: part.item() for name, part in parts.items()}

    def _average(self) -> None:
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        state = self.network.state_dict()
        torch._foreach_lerp_([self.ema[name] for name in state], list(state.values()), 1 - decay)

    def state(self) -> dict[str, Any]:
        """All of it, for an exact continuation."""
        return {
            "network": self.network.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where state() was taken; rates stay the recipe's."""
        self.network.load_state_dict(state["network"])
        self.ema = state["ema"]
        bases = [group["base"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, base in zip(self.optimizer.param_groups, bases, strict=True):
            group["base"] = base
        self.step = state["step"]
        self.best = state["best"]

    def averaged(self) -> AllInOne:
        """A copy of the network with the averaged weights, in eval mode."""
        network = AllInOne(self.network.config).to(self.device)
        network.load_state_dict(self.ema)
        return network.eval()


def build(recipe: Recipe, subjects: int) -> AllInOne:
    """The recipe's network, seeded, with the start it names. fc8 always starts afresh."""
    torch.manual_seed(recipe.seed)
    config = PRESETS[recipe.preset]
    network = AllInOne(replace(config, subjects=subjects if config.identity else 0, dropout=recipe.dropout))
    if recipe.start == "teacher":
        teacher.start(network, recipe.seed)
    elif recipe.start:
        started = checkpoint.load(Path(recipe.start).expanduser()).part("network")
        state = network.state_dict()
        fitting = {name: tensor for name, tensor in started.items() if _fits(tensor, state.get(name))}
        network.load_state_dict(state | fitting)
        if not any(name.startswith("deep_stages.") for name in started):
            network.fork()
    if recipe.only:
        heads = tuple(f"{part}_heads.{name}." for part in ("local", "deep") for name in recipe.only)
        if {"identity", "embedding"} & set(recipe.only):
            heads += ("stages.6.", "identity.") + (("stages.5.",) if config.deep_stages else ())
        if set(config.deep) & set(recipe.only):
            heads += ("deep_stages.",)
        if set(config.local) <= set(recipe.only):
            heads += ("local.",)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name.startswith(heads))
    return network


def _fits(tensor: torch.Tensor, other: torch.Tensor | None) -> bool:
    return other is not None and tensor.shape == other.shape


def _groups(run: Run, data: Batches) -> Iterator[tuple[tuple[str, Batch], ...]]:
    """Batches of each step to come on one device; all devices together take every number once."""

    def make(number: int) -> tuple[str, Batch]:
        return data.batch(number * run.world + run.rank)

    each = run.recipe.accumulate
    pin = run.device.startswith("cuda")
    batches = prefetch(make, run.step * each, run.recipe.end * each, run.recipe.workers, pin=pin)
    return zip(*[batches] * each, strict=True)


def train(run: Run, data: Batches, validation: dict[str, list[Batch]], out: Path) -> None:
    """Steps until the recipe's end: curve, validation, best weights, a state file every few minutes.

    Of several devices the first alone validates and writes.
    """
    recipe = run.recipe
    means = dict[str, float]()
    saved = time.monotonic()
    first = run.rank == 0
    if first:
        _trim_curve(out / "curve.csv", run.step)
    groups = _groups(run, data)
    bar = tqdm(groups, recipe.preset, recipe.end, initial=run.step, mininterval=5.0, disable=not first)
    for batches in bar:
        for name, value in run.train_on(batches).items():
            means[name] = value if name not in means else 0.98 * means[name] + 0.02 * value
        bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()}, refresh=False)
        if not first:
            continue
        last = run.step == recipe.end
        if run.step % recipe.validate_every == 0 or last:
            network = run.averaged()
            figures = validate(network, validation, run.device, recipe.precision, recipe.only)
            figures["score"] = score(figures)
            tqdm.write(f"step {run.step}: " + ", ".join(f"{name} {value:.4g}" for name, value in figures.items()))
            _write_curve(out, run.step, means, figures)
            if figures["score"] > run.best:
                run.best = figures["score"]
                _save_weights(out / "best.safetensors", network, recipe, run.step, figures)
        if last or time.monotonic() - saved > 60 * recipe.checkpoint_minutes:
            temporary = out / "state.partial"
            torch.save(run.state(), temporary)
            temporary.replace(out / "state.pt")
            saved = time.monotonic()


def _save_weights(path: Path, network: AllInOne, recipe: Recipe, step: int, figures: dict[str, float]) -> None:
    config = {
        "network": checkpoint.network_config(network),
        "preset": recipe.preset,
        "recipe": asdict(recipe),
        "step": step,
        "validation": {name: round(value, 5) for name, value in figures.items()},
    }
    checkpoint.save(path, {"network": checkpoint.inference_state(network)}, config)


def _write_curve(out: Path, step: int, means: dict[str, float], figures: dict[str, float]) -> None:
    path = out / "curve.csv"
    row = {"step": step, **{f"loss_{name}": means.get(name) for name in tasks.TASKS}, **figures}
    fresh = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if fresh:
            writer.writeheader()
        writer.writerow(row)
    plot_curve(path, out / "curve.png")


def _trim_curve(path: Path, step: int) -> None:
    """Drops the rows after the step at which a run resumes: it writes them again."""
    if path.is_file():
        header, *rows = path.read_text().splitlines(keepends=True)
        path.write_text(header + "".join(row for row in rows if int(row.partition(",")[0]) <= step))
