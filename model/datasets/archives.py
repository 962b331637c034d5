"""The paper's training data (section III-C): five sub-networks, each on archives of Table I, or a fine-tuning's sets.

    data: {"sets": {"regions": ["aflw"], "smile": ["celeba"], …}, "batch_size": 64}

Batch number n is of sub-network n mod 5: with "accumulate": 5 a step is one batch of each, summed as in Eq. 8, so all
tasks are trained at once. Photos are read from disk as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from model import geometry, tasks
from model import landmarks as markup
from model.datasets import (
    Array,
    Sample,
    adience,
    aflw,
    backgrounds,
    casia,
    celeba,
    fddb,
    fotw,
    held_out,
    imdb_wiki,
    lap,
    manifest,
    morph,
    pts,
)
from model.datasets.aligned import AlignedFaces
from model.datasets.augment import COARSE
from model.datasets.loaders import Batch, Mixture
from model.datasets.mixture import Data
from model.datasets.regions import Regions, random_box, region_row
from model.datasets.store import PhotoStore
from model.datasets.stream import PhotoStream

READERS: dict[str, Callable[[Path], list[Sample]]] = {
    "casia": casia.read,
    "morph": morph.read,
    "imdb_wiki": imdb_wiki.read,
    "adience": adience.read,
    "celeba": celeba.read_archive,
    "aflw": aflw.read,
    "fddb": fddb.read,
    "fotw": fotw.read,
    "lap": lap.read,
    "pts": pts.read,
    "manifest": manifest.read,
}
LABELS: dict[str, tuple[str, ...]] = {
    "regions": (),
    "smile": ("smile",),
    "gender": ("female",),
    "age": ("age", "age_sigma"),
    "identity": ("subject",),
}
"""Sub-networks and the labels of their batches; 'regions' is detection, landmarks, visibility and pose."""
HELD_OUT = 0.05
"""Share of the training photos that validate where a set has no part for it."""


@dataclass(frozen=True)
class ArchivesConfig:
    """The `data` part of a recipe that names archives."""

    sets: dict[str, list[str]]  # sub-network → sets
    batch_size: int
    seed: int = 0
    root: str | None = None  # folder of the archives, DIR/<set>/
    backgrounds: str | None = None  # folder of photos without faces, for negatives; else they come from beside faces
    negatives: float = 0.5  # share of negatives among regions
    fold: int | None = None  # FDDB's fold to leave out
    validation_size: int = 384  # samples that validation looks at, each sub-network

    def __post_init__(self) -> None:
        known = {name for members in self.sets.values() for name in members} - set(READERS)
        if not self.sets or known or set(self.sets) - set(LABELS):
            wrong = sorted(known | (set(self.sets) - set(LABELS)))
            raise ValueError(f"sets maps sub-networks {sorted(LABELS)} to archives {sorted(READERS)}, not {wrong}")


class Turns(Mixture):
    """Batches of the loaders in turn, in equal shares: number n is of loader n mod their number."""

    def batch(self, step: int) -> tuple[str, Batch]:
        """Sub-network and batch of one number: depends on nothing but the seed and the number."""
        rng = np.random.default_rng((self.seed, step))
        name = list(self.loaders)[step % len(self.loaders)]
        return name, self.loaders[name](self.batch_size, rng)


class ArchiveFaces(AlignedFaces):
    """Faces cut by whatever points their set marks: the seven of the alignment, or else all known but ears and chin."""

    def __init__(
        self,
        samples: Sequence[Sample],
        photos: PhotoStore,
        size: int,
        labels: Sequence[str],
        subjects: dict[str, int] | None = None,
        jitter: float = 1.0,
        coarse: float = COARSE,
    ) -> None:
        points = [s.landmarks if s.landmarks is not None else np.full((markup.COUNT, 2), np.nan) for s in samples]
        matrices = alignments(np.array(points, np.float32).reshape(-1, markup.COUNT, 2), size)
        kept = [i for i in range(len(samples)) if np.isfinite(matrices[i]).all() and _labelled(samples[i], labels)]
        if not kept:
            sets = sorted({s.source for s in samples})
            raise ValueError(f"{', '.join(sets)}: no sample with {labels[0]} and landmarks (python -m model.mark)")
        self.samples = [samples[i] for i in kept]
        self.photos, self.size, self.labels = photos, size, tuple(labels)
        self.subjects, self.jitter, self.coarse = subjects or {}, jitter, coarse
        self._matrices, self._chances = matrices[kept].astype(np.float64), None

    def _targets(self, chosen: Sequence[Sample]) -> Batch:
        targets = super()._targets(chosen)
        if "age_sigma" in targets:
            targets["age_sigma"] = targets["age_sigma"].nan_to_num(tasks.AGE_SIGMA)
        return targets


def _labelled(sample: Sample, labels: Sequence[str]) -> bool:
    value = getattr(sample, labels[0])
    return value is not None and value == value  # noqa: PLR0124 - NaN


def alignments(points: Array, size: int) -> Array:
    """Affine maps [N, 2, 3] to the canonical chip, from landmarks [N, 21, 2]; NaN where too few are known."""
    fixed = np.isin(np.arange(markup.COUNT), (*markup.EARS, markup.COUNT - 1), invert=True)
    seven = np.isin(np.arange(markup.COUNT), markup.ALIGNMENT)
    known = np.isfinite(points[..., 0] + points[..., 1]) & fixed
    known = np.where(np.all(known | ~seven, axis=1, keepdims=True), seven, known)
    matrices = np.full((len(points), 2, 3), np.nan, np.float32)
    canonical = torch.from_numpy(markup.CANONICAL) * size
    for pattern in np.unique(known, axis=0):
        used = np.flatnonzero(pattern)
        if len(used) >= 3:
            rows, chosen = np.flatnonzero((known == pattern).all(axis=1)), torch.from_numpy(used)
            source = torch.from_numpy(np.asarray(points[np.ix_(rows, used)], np.float32))
            matrices[rows] = geometry.similarity(source, canonical[chosen]).numpy()
    return matrices


class ArchiveRegions(Regions):
    """Regions of photos whose sets mark boxes: AFLW (points, visibility, pose too), FDDB (nothing else).

    Negatives are of the backgrounds where there are any, else of photos in which one face is marked, off that face.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        backgrounds: Sequence[Sample],
        photos: PhotoStore,
        size: int,
        negatives: float,
    ) -> None:
        self.samples = [_complete(s) for s in samples if s.box is not None]
        if not self.samples:
            raise ValueError("no sample with a box to cut regions from")
        self.backgrounds, self.photos, self.size, self.negatives = list(backgrounds), photos, size, negatives
        boxes = torch.from_numpy(np.stack([np.asarray(s.box, np.float32) for s in self.samples]))
        self.boxes = geometry.square(boxes).numpy()
        self.hard = []
        self._safe = [i for i, s in enumerate(self.samples) if s.faces == 1]
        self._chances = np.full(len(self.samples), 1 / len(self.samples))
        if not self._safe and not self.backgrounds:
            raise ValueError("no photo to take negatives from: all have several faces and there are no backgrounds")

    def _negative(self, rng: np.random.Generator, plain: bool = False) -> Batch:
        if self.backgrounds:
            return super()._negative(rng, plain)
        while True:
            i = self._safe[int(rng.integers(len(self._safe)))]
            photo = self.photos[self.samples[i]]
            for _ in range(20):
                box = random_box(photo, rng)
                truth = torch.from_numpy(self.boxes[i][None])
                if float(geometry.box_iou(torch.from_numpy(box)[None], truth)) < self.NEGATIVE:
                    matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
                    crop = geometry.warp(photo, matrix, self.size)
                    unmarked = np.full((markup.COUNT, 2), np.nan)
                    return region_row(crop, 0.0, unmarked, unmarked[:, 0], np.full(3, np.nan))


def _complete(sample: Sample) -> Sample:
    """The sample with landmarks, NaN where it has none."""
    if sample.landmarks is not None:
        return sample
    return replace(sample, landmarks=np.full((markup.COUNT, 2), np.nan, np.float32))


def load(config: ArchivesConfig, size: int) -> Data:
    """Reads the archives and builds the turns and the validation batches.

    Raises FileNotFoundError naming what is missing, ValueError for sets that lack what a sub-network learns.
    """
    if config.root is None:
        raise ValueError("archives need --data DIR, the folder that holds them")
    root, photos = Path(config.root).expanduser(), PhotoStream()
    names = sorted({name for members in config.sets.values() for name in members})
    read = {name: _parts(READERS[name](_folder(root, name)), config) for name in names}
    empty = backgrounds.read(backgrounds.WALLPAPERS, Path(config.backgrounds)) if config.backgrounds else []
    people = {s.subject for name in config.sets.get("identity", ()) for s in read[name][0] if s.subject}
    numbers = {name: i for i, name in enumerate(sorted(people))}

    loaders: dict[str, Callable[[int, np.random.Generator], Batch]] = {}
    validation: dict[str, list[Batch]] = {}
    for network, members in config.sets.items():
        train, val = ([s for name in members for s in read[name][k]] for k in (0, 1))
        if network == "regions":
            regions = ArchiveRegions(train, empty, photos, size, config.negatives)
            loaders[network] = regions.batch
            checked = ArchiveRegions(val, empty, photos, size, config.negatives)
            validation[network] = [*_chunks(checked, config), checked.exact_negatives(config.validation_size)]
        else:
            loaders[network] = ArchiveFaces(train, photos, size, LABELS[network], numbers).batch
            validation[network] = _chunks(ArchiveFaces(val, photos, size, LABELS[network], numbers, 0.0), config)
    return Data(Turns(loaders, {}, config.batch_size, config.seed), validation, len(numbers))


def _folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise FileNotFoundError(f"data set {name}: no folder {root / name}")
    return root / name


def _parts(samples: Sequence[Sample], config: ArchivesConfig) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples of one set; FDDB has no test part but the fold left out."""
    if samples and samples[0].source == fddb.SOURCE:
        usable = [s for s in samples if s.group != str(config.fold)]
    else:
        usable = [s for s in samples if s.split != "test"]
    val = [s for s in usable if s.split == "val"]
    if val:
        return [s for s in usable if s.split != "val"], val
    val = [s for s in usable if held_out(f"validation {s.path.name}", HELD_OUT)] or list(usable[:1])
    chosen = {s.path for s in val}
    return [s for s in usable if s.path not in chosen], [s for s in usable if s.path in chosen]


def _chunks(loader: AlignedFaces | Regions, config: ArchivesConfig, chunk: int = 64) -> list[Batch]:
    """At most validation_size evenly spread samples, unchanged, in batches."""
    total = len(loader.samples)
    chosen = [int(i) for i in np.linspace(0, total - 1, min(config.validation_size, total))]
    return [loader.exact(chosen[start : start + chunk]) for start in range(0, len(chosen), chunk)]
