"""The training mixture of a recipe and the fixed validation batches, from the sets that lie in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from model.datasets import Array, Sample
from model.datasets.aligned import AlignedFaces
from model.datasets.augment import COARSE
from model.datasets.loaders import Batch, Batches, Loader, Mixture
from model.datasets.readers import backgrounds, celeba, helen, mtfl, profiles, utkface
from model.datasets.regions import Hardships, Regions
from model.datasets.store import PhotoStore

_ALIGNED = {
    "utkface": ("age", "female", "smile", "embedding"),
    "celeba": ("female", "smile", "subject", "embedding"),
    "mtfl": ("female", "smile", "embedding"),
}
"""Sub-networks of aligned faces: loader → the labels its sets have; with `pseudo` all have an age too."""
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
    hard_negatives: str | None = None  # .npz of what an earlier detector got wrong (model.tools.mine_hard_examples)
    jitter: float = 1.0  # how much the frame of an aligned face varies, relative to the usual amount
    pseudo: str | None = None  # .npz of labels that networks gave where people gave none (model.tools.pseudo_label)
    pseudo_share: float = 0.0  # share of the networks' answer in labels that people gave
    region_weights: dict[str, float] = field(default_factory=lambda: {"helen": 5.0, "utkface": 0.15, "missed": 10.0})
    profiles: bool = False  # with the photos that model.synthesis made
    hardships: dict[str, float] = field(default_factory=dict)  # of regions: turned, covered, harmed, as shares
    validation_size: int = 384  # crops of each kind that validation looks at


@dataclass(frozen=True)
class Data:
    """What training needs: the mixture, named validation batches, and the number of people to tell apart."""

    mixture: Batches
    validation: dict[str, list[Batch]]
    subjects: int


def photos(with_profiles: bool = False) -> tuple[list[Sample], list[Sample]]:
    """Return all labelled faces but LFW's, and all backgrounds, of every split; `with_profiles` adds synthetic ones.

    Raises FileNotFoundError naming what is missing.
    """
    faces = utkface.read() + celeba.read("celeba_wild") + celeba.read("celeba_aligned_small")
    empty = backgrounds.read("negatives") + backgrounds.read("negatives_objects")
    faces += mtfl.read() + helen.read() + (profiles.read() if with_profiles else [])
    return faces, empty + backgrounds.read(backgrounds.WALLPAPERS) + backgrounds.read(backgrounds.EMOJI)


def training_faces(with_profiles: bool = False) -> tuple[list[Sample], PhotoStore]:
    """Return the faces of photos() that trainings may see, and the decoded photos of all of them."""
    faces, empty = photos(with_profiles)
    return [sample for sample in faces if sample.split == "train"], PhotoStore(faces + empty)


def load(config: MixtureConfig, size: int, frame: str = "canonical") -> Data:
    """Read every set, decode its photos once and build the loaders. Raises FileNotFoundError for what is missing."""
    faces, empty = photos(config.profiles)
    store = PhotoStore(faces + empty)
    train = filled([s for s in faces if s.split == "train"], config.pseudo, config.pseudo_share)
    numbers = {name: i for i, name in enumerate(sorted({s.subject for s in train if s.subject}))}
    val = [s for s in faces if s.split == "val"]

    def aligned(part: Sequence[Sample], name: str, jitter: float) -> AlignedFaces:
        own_samples = [s for s in part if s.source.startswith(name)]
        balance = config.balance_age if name == "utkface" and jitter else 0.0
        labels = tuple(dict.fromkeys(("age", *_ALIGNED[name]))) if config.pseudo else _ALIGNED[name]
        return AlignedFaces(own_samples, store, size, labels, numbers, jitter, balance, config.coarse, frame)

    hard = _hard_negatives(config.hard_negatives)
    weights = config.region_weights
    hardships = Hardships(**config.hardships)
    trained_empty = [s for s in empty if s.split == "train"]
    regions = Regions(train, trained_empty, store, size, config.negatives, hard, weights, hardships)
    loaders: dict[str, Loader] = {
        name: aligned(train, name, config.jitter).batch for name in _ALIGNED if config.shares.get(name)
    }
    if config.shares.get("regions"):
        loaders["regions"] = regions.batch
    mixture = Mixture(loaders, config.shares, config.batch_size, config.seed)
    count = config.validation_size
    validation = {name: validation_batches(aligned(val, name, 0.0), count * 2) for name in _ALIGNED}
    validation |= _validation_regions(val, [s for s in empty if s.split == "val"], store, size, hard, count)
    if hardships.turned:
        validation["turned"] = _turned(Regions([s for s in val if s.source == "helen"], [], store, size))
    return Data(mixture, validation, len(numbers))


def _validation_regions(
    faces: Sequence[Sample], empty: Sequence[Sample], store: PhotoStore, size: int, hard: dict[str, Array], count: int
) -> dict[str, list[Batch]]:
    """Return about `count` regions of each kind: HELEN's faces, profiles where there are any, all faces and no face."""
    upright = [s for s in faces if s.source not in ("utkface", "profiles")]
    regions = Regions(upright, empty, store, size, hard=hard)
    samples_by_kind = {"helen": [s for s in faces if s.source == "helen"]}
    if turned_sideways := [s for s in faces if s.source == "profiles"]:
        samples_by_kind["profiles"] = turned_sideways
    batches = {
        name: validation_batches(Regions(part, [], store, size), count) for name, part in samples_by_kind.items()
    }
    batches["regions"] = [*validation_batches(regions, count), regions.exact_negatives(count)]
    return batches


def _turned(regions: Regions, chunk: int = 64) -> list[Batch]:
    """Return every face at four angles spread over the circle."""
    indices = [i for i in range(len(regions.samples)) for _ in range(4)]
    angles = [float(angle) for angle in np.arange(len(indices)) * 67 % 360 - 180]
    starts = range(0, len(indices), chunk)
    return [regions.exact(indices[at : at + chunk], angles[at : at + chunk]) for at in starts]


def validation_batches(loader: AlignedFaces | Regions, count: int, chunk: int = 64) -> list[Batch]:
    """Return about `count` evenly spread samples, unchanged, in batches of `chunk`."""
    total = len(loader.samples)
    indices = np.linspace(0, total - 1, min(count, total)).astype(int)
    return [loader.exact([int(i) for i in indices[start : start + chunk]]) for start in range(0, len(indices), chunk)]


def filled(samples: Sequence[Sample], path: str | None, share: float = 0.0) -> list[Sample]:
    """Return the samples with pseudo-labels of age, gender and smile from a file of model.tools.pseudo_label.

    A label that people gave becomes (1 - share) × label + share × the networks' answer; one they did not give becomes
    the networks' answer. Samples that the file does not name stay as they are.
    """
    if path is None:
        return list(samples)
    with np.load(Path(path).expanduser()) as arrays:
        rows = {name: row for row, name in enumerate(arrays["names"].tolist())}
        answers = {name: arrays[name] for name in arrays.files if name != "names"}
    return [_mixed_with(sample, rows.get(f"{sample.source}/{sample.name}"), answers, share) for sample in samples]


def _mixed_with(sample: Sample, row: int | None, answers: dict[str, Array], share: float) -> Sample:
    """Return the sample with this row's answers: for labels it lacks, and mixed by `share` into those it has."""
    if row is None:
        return sample
    labels: dict[str, float] = {}
    for name, values in answers.items():
        label = getattr(sample, name)
        answer = float(values[row])
        labels[name] = answer if np.isnan(label) else (1 - share) * label + share * answer
    return replace(sample, **labels)  # type: ignore[arg-type]


def _hard_negatives(path: str | None) -> dict[str, Array]:
    if path is None:
        return {}
    with np.load(Path(path).expanduser()) as arrays:
        return {name: arrays[name] for name in arrays.files}
