"""The loop that trains the small networks before the first look: the proposer's and the screening one."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import cos, pi
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from model import checkpoint
from model.datasets.loaders import Batch, Loader
from model.datasets.prefetch import prefetch

WARMUP = 200
"""Steps in which the learning rate rises to its highest."""
SAVE_SECONDS = 300.0


Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FitConfig:
    """Length and rate of a training. Batch number n depends on `seed` and n alone."""

    steps: int
    batch_size: int
    lr: float
    seed: int = 0


def run_arguments(description: str | None, part: str, defaults: FitConfig) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all trainings of a small network have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumed where it holds a state")
    parser.add_argument("--start", type=Path, help=f"checkpoint whose {part} goes on learning")
    parser.add_argument("--profiles", action="store_true", help="with the photos that model.synthesis made")
    parser.add_argument("--steps", type=int, default=defaults.steps)
    parser.add_argument("--batch-size", type=int, default=defaults.batch_size)
    parser.add_argument("--lr", type=float, default=defaults.lr)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--threads", type=int, help="CPU threads")
    return parser


def begin(arguments: argparse.Namespace) -> FitConfig:
    """Make the run's folder, set threads and seed, and return its length and rate."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    return FitConfig(arguments.steps, arguments.batch_size, arguments.lr, arguments.seed)


def fit(
    network: Network,
    part: str,
    draw: Loader,
    losses: Callable[[Network, Batch], Mapping[str, Tensor]],
    out: Path,
    config: FitConfig,
) -> None:
    """Train a network by AdamW with cosine decay; the sum of `losses` is what falls.

    `out`/state.pt holds network, optimiser and step and is resumed where it exists; `out`/PART.safetensors is a
    checkpoint with the weights as that part. Raises FloatingPointError for a loss that is no number.
    """
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=1e-4)
    step = _resume(out / "state.pt", network, optimizer)

    def make(number: int) -> tuple[str, Batch]:
        return part, draw(config.batch_size, np.random.default_rng((config.seed, number)))

    saved = time.monotonic()
    means: dict[str, float] = {}
    bar = tqdm(prefetch(make, step, config.steps), part, total=config.steps, initial=step, mininterval=5.0)
    for _, batch in bar:
        for group in optimizer.param_groups:
            group["lr"] = _rate(config, step)
        parts = losses(network, batch)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            raise FloatingPointError(f"step {step}: loss {loss.item()}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        step += 1
        means = {name: 0.98 * means.get(name, value.item()) + 0.02 * value.item() for name, value in parts.items()}
        bar.set_postfix({name: f"{value:.3f}" for name, value in means.items()}, refresh=False)
        if step == config.steps or time.monotonic() - saved > SAVE_SECONDS:
            _save(out, part, network, optimizer, step)
            saved = time.monotonic()


def _rate(config: FitConfig, step: int) -> float:
    """Learning rate of a step: up in a line, then down half a cosine."""
    return config.lr * min(1.0, (step + 1) / WARMUP) * (0.5 + 0.5 * cos(pi * step / config.steps))


def crops_of(batch: Batch) -> Tensor:
    """Return a batch's crops as the small networks take them."""
    return batch["crops"].float().contiguous(memory_format=torch.channels_last)


def half_precision() -> torch.autocast:
    """Return autocasting to bfloat16 where the processor multiplies it; others only imitate it, slowly."""
    return torch.autocast("cpu", torch.bfloat16, enabled="AVX512" in torch.backends.cpu.get_cpu_capability())


def _resume(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load what a stopped run left and return its step; 0 without it."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(out: Path, part: str, network: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    torch.save(state, out / "state.partial")
    (out / "state.partial").replace(out / "state.pt")
    checkpoint.save(out / f"{part}.safetensors", {part: network.state_dict()}, {})
