"""The training mixture of a recipe and the fixed validation batches, from the sets that lie in the cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from model.datasets import Array, Sample, backgrounds, celeba, helen, mtfl, utkface
from model.datasets.aligned import AlignedFaces
from model.datasets.augment import COARSE
from model.datasets.loaders import Batch, Mixture
from model.datasets.regions import Regions
from model.datasets.store import PhotoStore

_ALIGNED = {
    "utkface": ("age", "female", "smile", "embedding"),
    "celeba": ("female", "smile", "subject", "embedding"),
    "mtfl": ("female", "smile", "embedding"),
}
"""Sub-networks of aligned faces: loader → the labels its sets have."""
LOADERS = (*_ALIGNED, "regions")
"""What a recipe can give shares to."""


@dataclass(frozen=True)
class MixtureConfig:
    """The `data` part of a recipe."""

    shares: dict[str, float]  # of batches: utkface, celeba, mtfl, regions
    batch_size: int
    seed: int = 0
    negatives: float = 0.4  # share of negatives among regions
    balance_age: float = 0.3  # sampling ∝ density^-x; 0 takes ages as they come
    coarse: float = COARSE  # share of aligned faces at low resolution
    hard_negatives: str | None = None  # .npz of what an earlier detector got wrong (model.mine)
    pseudo: str | None = None  # .npz of labels that other networks gave where people gave none (model.pseudo)
    region_weights: dict[str, float] = field(default_factory=lambda: {"helen": 5.0, "utkface": 0.15, "missed": 10.0})
    validation_size: int = 384  # crops of each kind that validation looks at


@dataclass(frozen=True)
class Data:
    """What training needs: the mixture, named validation batches, and the number of people to tell apart."""

    mixture: Mixture
    validation: dict[str, list[Batch]]
    subjects: int


def photos() -> tuple[list[Sample], list[Sample]]:
    """All labelled faces but LFW's, and all backgrounds, of every split."""
    faces = utkface.read() + celeba.read("celeba_wild") + celeba.read("celeba_aligned_small")
    empty = backgrounds.read("negatives") + backgrounds.read("negatives_objects")
    return faces + mtfl.read() + helen.read(), empty + backgrounds.read(backgrounds.WALLPAPERS)


def load(config: MixtureConfig, size: int) -> Data:
    """Reads every set, decodes once, and builds the loaders. Raises FileNotFoundError naming what is missing."""
    faces, empty = photos()
    store = PhotoStore(faces + empty)
    train = filled([s for s in faces if s.split == "train"], config.pseudo)
    numbers = {name: i for i, name in enumerate(sorted({s.subject for s in train if s.subject}))}
    val = [s for s in faces if s.split == "val"]

    def aligned(part: Sequence[Sample], name: str, jitter: float) -> AlignedFaces:
        chosen = [s for s in part if s.source.startswith(name)]
        balance = config.balance_age if name == "utkface" and jitter else 0.0
        return AlignedFaces(chosen, store, size, _ALIGNED[name], numbers, jitter, balance, config.coarse)

    hard = _hard_negatives(config.hard_negatives)
    weights, validation_size = config.region_weights, config.validation_size
    regions = Regions(train, [s for s in empty if s.split == "train"], store, size, config.negatives, hard, weights)
    loaders: dict[str, Callable[[int, np.random.Generator], Batch]] = {
        name: aligned(train, name, 1.0).batch for name in _ALIGNED if config.shares.get(name)
    }
    if config.shares.get("regions"):
        loaders["regions"] = regions.batch
    mixture = Mixture(loaders, config.shares, config.batch_size, config.seed)
    validation = {name: _chunks(aligned(val, name, 0.0), validation_size * 2) for name in _ALIGNED}
    val_regions = Regions(
        [s for s in val if s.source != "utkface"], [s for s in empty if s.split == "val"], store, size, hard=hard
    )
    validation["helen"] = _chunks(Regions([s for s in val if s.source == "helen"], [], store, size), validation_size)
    validation["regions"] = [*_chunks(val_regions, validation_size), val_regions.exact_negatives(validation_size)]
    return Data(mixture, validation, len(numbers))


def _chunks(loader: AlignedFaces | Regions, count: int, chunk: int = 64) -> list[Batch]:
    """About `count` evenly spread samples, unchanged, in batches."""
    total = len(loader.samples)
    chosen = np.linspace(0, total - 1, min(count, total)).astype(int)
    return [loader.exact([int(i) for i in chosen[start : start + chunk]]) for start in range(0, len(chosen), chunk)]


def filled(samples: Sequence[Sample], path: str | None) -> list[Sample]:
    """The samples with the pseudo-labels of what they lack."""
    if path is None:
        return list(samples)
    with np.load(Path(path).expanduser()) as arrays:
        labels = {name: dict(zip(arrays["names"], arrays[name], strict=True)) for name in set(arrays) - {"names"}}
    known = []
    for sample in samples:
        key = f"{sample.source}/{sample.name}"
        new = {k: float(v[key]) for k, v in labels.items() if key in v and np.isnan(getattr(sample, k))}
        known.append(replace(sample, **new))  # type: ignore[arg-type]
    return known


def _hard_negatives(path: str | None) -> dict[str, Array]:
    if path is None:
        return {}
    with np.load(Path(path).expanduser()) as arrays:
        return {name: arrays[name] for name in arrays.files}
