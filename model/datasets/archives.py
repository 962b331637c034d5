"""The paper's training data (section III-C): five sub-networks, each on archives of Table I, or a fine-tuning's sets.

    data: {"sets": {"regions": ["aflw"], "smile": ["celeba"], …}, "batch_size": 64}

Batch number n is of sub-network n mod 5: with "accumulate": 5 a step is one batch of each, summed as in Eq. 8, so all
tasks are trained at once. Photos are read from disk as they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from model import geometry
from model import landmarks as markup
from model.datasets import Array, Sample, held_out
from model.datasets.aligned import AlignedFaces
from model.datasets.loaders import Batch, Loader, Turns
from model.datasets.mixture import Data, validation_batches
from model.datasets.readers import (
    adience,
    aflw,
    backgrounds,
    casia,
    celeba,
    fddb,
    fotw,
    imdb_wiki,
    lap,
    manifest,
    morph,
    pts,
)
from model.datasets.regions import Regions
from model.datasets.store import Photos, PhotoStream

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
        unknown_archives = {name for members in self.sets.values() for name in members} - set(READERS)
        if not self.sets or unknown_archives or set(self.sets) - set(LABELS):
            wrong = sorted(unknown_archives | (set(self.sets) - set(LABELS)))
            raise ValueError(f"sets maps sub-networks {sorted(LABELS)} to archives {sorted(READERS)}, not {wrong}")


def archive_faces(
    samples: Sequence[Sample],
    photos: Photos,
    size: int,
    labels: Sequence[str],
    subjects: dict[str, int] | None = None,
    jitter: float = 1.0,
) -> AlignedFaces:
    """Return faces cut by whatever points their set marks; samples without the first label or enough points are out.

    These are the seven points of the alignment, or else all that are marked but ears and chin. Raises ValueError when
    no sample is left.
    """
    points = [s.landmarks if s.landmarks is not None else np.full((markup.COUNT, 2), np.nan) for s in samples]
    matrices = alignments(np.array(points, np.float32).reshape(-1, markup.COUNT, 2), size)
    usable = [i for i in range(len(samples)) if np.isfinite(matrices[i]).all() and _labelled(samples[i], labels)]
    if not usable:
        sets = sorted({s.source for s in samples})
        raise ValueError(
            f"{', '.join(sets)}: no sample with {labels[0]} and landmarks (python -m model.tools.label_landmarks)"
        )
    chosen = [samples[i] for i in usable]
    return AlignedFaces(chosen, photos, size, labels, subjects, jitter, matrices=matrices[usable])


def _labelled(sample: Sample, labels: Sequence[str]) -> bool:
    value = getattr(sample, labels[0])
    return value is not None and value == value  # noqa: PLR0124 - NaN


def alignments(points: Array, size: int) -> Array:
    """Return affine maps [N, 2, 3] to the canonical chip, from landmarks [N, 21, 2]; NaN where too few are known."""
    fixed = np.isin(np.arange(markup.COUNT), (*markup.EARS, markup.COUNT - 1), invert=True)
    seven = np.isin(np.arange(markup.COUNT), markup.ALIGNMENT)
    is_known = np.isfinite(points[..., 0] + points[..., 1]) & fixed
    is_known = np.where(np.all(is_known | ~seven, axis=1, keepdims=True), seven, is_known)
    matrices = np.full((len(points), 2, 3), np.nan, np.float32)
    canonical = torch.from_numpy(markup.CANONICAL) * size
    for pattern in np.unique(is_known, axis=0):
        used_points = np.flatnonzero(pattern)
        if len(used_points) >= 3:
            rows = np.flatnonzero((is_known == pattern).all(axis=1))
            point_indices = torch.from_numpy(used_points)
            source = torch.from_numpy(np.asarray(points[np.ix_(rows, used_points)], np.float32))
            matrices[rows] = geometry.similarity(source, canonical[point_indices]).numpy()
    return matrices


def archive_regions(
    samples: Sequence[Sample], backgrounds: Sequence[Sample], photos: Photos, size: int, negatives: float
) -> Regions:
    """Return regions of photos whose sets mark boxes: AFLW (points, visibility, pose too), FDDB (nothing else).

    Negatives come from the backgrounds and from beside the face in photos with one marked face. Raises ValueError when
    no sample has a box, or when there is no photo to take negatives from.
    """
    boxed = [s for s in samples if s.box is not None]
    if not boxed:
        raise ValueError("no sample with a box to cut regions from")
    if not backgrounds and all(s.faces != 1 for s in boxed):
        raise ValueError("no photo to take negatives from: all have several faces and there are no backgrounds")
    boxes = torch.from_numpy(np.stack([np.asarray(s.box, np.float32) for s in boxed]))
    return Regions(boxed, backgrounds, photos, size, negatives, boxes=geometry.square(boxes).numpy())


def load(config: ArchivesConfig, size: int) -> Data:
    """Read the archives; return the turns of their loaders and the validation batches.

    Raises FileNotFoundError naming what is missing, ValueError for sets that lack what a sub-network learns.
    """
    if config.root is None:
        raise ValueError("archives need --data DIR, the folder that holds them")
    root = Path(config.root).expanduser()
    photos = PhotoStream()
    names = sorted({name for members in config.sets.values() for name in members})
    read = {name: _parts(READERS[name](_folder(root, name)), config) for name in names}
    empty = backgrounds.read(backgrounds.WALLPAPERS, Path(config.backgrounds)) if config.backgrounds else []
    people = {s.subject for name in config.sets.get("identity", ()) for s in read[name][0] if s.subject}
    numbers = {name: i for i, name in enumerate(sorted(people))}

    loaders: dict[str, Loader] = {}
    validation: dict[str, list[Batch]] = {}
    for network, members in config.sets.items():
        train, val = ([s for name in members for s in read[name][k]] for k in (0, 1))
        if network == "regions":
            regions = archive_regions(train, empty, photos, size, config.negatives)
            loaders[network] = regions.batch
            checked = archive_regions(val, empty, photos, size, config.negatives)
            validation[network] = [
                *validation_batches(checked, config.validation_size),
                checked.exact_negatives(config.validation_size),
            ]
        else:
            loaders[network] = archive_faces(train, photos, size, LABELS[network], numbers).batch
            faces = archive_faces(val, photos, size, LABELS[network], numbers, jitter=0.0)
            validation[network] = validation_batches(faces, config.validation_size)
    return Data(Turns(loaders, config.batch_size, config.seed), validation, len(numbers))


def _folder(root: Path, name: str) -> Path:
    if not (root / name).is_dir():
        raise FileNotFoundError(f"data set {name}: no folder {root / name}")
    return root / name


def _parts(samples: Sequence[Sample], config: ArchivesConfig) -> tuple[list[Sample], list[Sample]]:
    """Return training and validation samples of one set; FDDB has no test part but the fold left out."""
    if samples and samples[0].source == fddb.SOURCE:
        usable = [s for s in samples if s.group != str(config.fold)]
    else:
        usable = [s for s in samples if s.split != "test"]
    val = [s for s in usable if s.split == "val"]
    if val:
        return [s for s in usable if s.split != "val"], val
    val = [s for s in usable if held_out(f"validation {s.path.name}", HELD_OUT)] or list(usable[:1])
    val_paths = {s.path for s in val}
    return [s for s in usable if s.path not in val_paths], [s for s in usable if s.path in val_paths]
