"""Faces cut by the canonical face: what age, gender, smile and identity learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from model import geometry, tasks
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.augment import COARSE, degrade, jitter_matrix, mirror_matrix
from model.datasets.loaders import Batch
from model.datasets.store import Photos
from model.geometry import Image


class AlignedFaces:
    """Faces cut by a frame of model.landmarks (age, gender, smile, identity, the teacher's embedding).

    `matrices` [N, 2, 3] are the affine maps from each sample's photo to its chip; without them they follow from the
    landmarks, and samples that lack one of the 21 are left out. Raises ValueError when no sample is left.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        photos: Photos,
        size: int,
        labels: Sequence[str],
        subjects: dict[str, int] | None = None,
        jitter: float = 1.0,
        balance_age: float = 0.0,
        coarse: float = COARSE,
        frame: str = "canonical",
        matrices: Array | None = None,
    ) -> None:
        if matrices is None:
            samples = [s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all()]
        self.samples = list(samples)
        if not self.samples:
            raise ValueError("no sample with landmarks to align by")
        if matrices is None:
            points = torch.from_numpy(np.stack([s.landmarks for s in self.samples if s.landmarks is not None])).float()
            matrices = geometry.alignment_matrices(points, size, frame).numpy()
        self.matrices = matrices.astype(np.float64)
        people = sorted({s.subject for s in self.samples if s.subject})
        self._people = {subject: number for number, subject in enumerate(people)}
        self.photos = photos
        self.size = size
        self.labels = tuple(labels)
        self.subjects = subjects or {}
        self.jitter = jitter
        self.coarse = coarse
        self._chances = age_chances(self.samples, balance_age) if balance_age else None

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` random faces, mirrored half the time, jittered and degraded."""
        return self.changed(rng.choice(len(self.samples), count, p=self._chances).tolist(), rng)

    def changed(self, indices: Sequence[int], rng: np.random.Generator) -> Batch:
        """The named samples' chips, mirrored half the time, jittered and degraded: what training sees."""
        crops, matrices = [], []
        for i in indices:
            matrix = np.vstack([self.matrices[i], (0, 0, 1)])
            matrix = jitter_matrix(self.size, rng, 4 * self.jitter, 0.04 * self.jitter, 0.02 * self.jitter) @ matrix
            if rng.random() < 0.5:
                matrix = mirror_matrix(self.size) @ matrix
            crop = geometry.warp(self.photos[self.samples[i]], matrix[:2], self.size)
            crops.append(degrade(crop, rng, self.coarse) if self.jitter else crop)
            matrices.append(matrix[:2])
        return {"crops": _stack(crops)} | self._targets([self.samples[i] for i in indices], matrices)

    def exact(self, indices: Sequence[int]) -> Batch:
        """Return the chips of the samples at these indices, unchanged, as validation sees them."""
        samples = [self.samples[i] for i in indices]
        crops = [geometry.warp(self.photos[self.samples[i]], self.matrices[i], self.size) for i in indices]
        return {"crops": _stack(crops)} | self._targets(samples, [self.matrices[i] for i in indices])

    def _targets(self, samples: Sequence[Sample], matrices: Sequence[Array]) -> Batch:
        targets: Batch = {}
        for label in self.labels:
            if label == "subject":
                numbers = [self.subjects.get(s.subject, -1) if s.subject else -1 for s in samples]
                targets[label] = torch.tensor(numbers)
                targets["person"] = torch.tensor([self._people[s.subject] if s.subject else -1 for s in samples])
            elif label == "embedding":
                rows = [np.full(128, np.nan) if s.embedding is None else s.embedding for s in samples]
                targets[label] = torch.from_numpy(np.stack(rows)).float()
            elif label in GEOMETRY:
                rows = [GEOMETRY[label](sample, matrix) for sample, matrix in zip(samples, matrices, strict=True)]
                targets[label] = torch.from_numpy(np.stack(rows)).float()
            else:
                targets[label] = torch.tensor([getattr(s, label) for s in samples])
        if "age_sigma" in targets:
            targets["age_sigma"] = targets["age_sigma"].nan_to_num(tasks.AGE_SIGMA)
        return targets


def landmarks_of_chip(sample: Sample, matrix: Array) -> Array:
    """Return a sample's landmarks [21, 2] in pixels of the chip that `matrix` [2, 3] cuts; NaN where not labelled."""
    if sample.landmarks is None:
        return np.full((markup.COUNT, 2), np.nan)
    points: Array = np.asarray(sample.landmarks) @ matrix[:, :2].T + matrix[:, 2]
    return points[list(markup.MIRROR)] if _mirrors(matrix) else points


def visibility_of_chip(sample: Sample, matrix: Array) -> Array:
    """Return a sample's visibility [21] in the order that the chip of `matrix` [2, 3] shows; NaN where not labelled."""
    visibility: Array = np.full(markup.COUNT, np.nan) if sample.visibility is None else np.asarray(sample.visibility)
    return visibility[list(markup.MIRROR)] if _mirrors(matrix) else visibility


def pose_of_chip(sample: Sample, matrix: Array) -> Array:
    """Return roll, pitch, yaw [3] in degrees as the chip of `matrix` [2, 3] shows them; NaN where not labelled."""
    if sample.pose is None:
        return np.full(3, np.nan)
    mirrors = _mirrors(matrix)
    roll, pitch, yaw = np.asarray(sample.pose) * ((-1, 1, -1) if mirrors else (1, 1, 1))
    across = -matrix[:, 0] if mirrors else matrix[:, 0]
    turn = np.rad2deg(np.arctan2(across[1], across[0]))
    return np.array([(roll + turn + 180) % 360 - 180, pitch, yaw])


GEOMETRY: dict[str, Callable[[Sample, Array], Array]] = {
    "landmarks": landmarks_of_chip,
    "visibility": visibility_of_chip,
    "pose": pose_of_chip,
}
"""Label → what a chip shows of it, which depends on how the chip was cut."""


def _mirrors(matrix: Array) -> bool:
    return bool(np.linalg.det(matrix[:, :2]) < 0)


def age_chances(samples: Sequence[Sample], power: float) -> Array:
    """Return sampling chances ∝ (photos within about 3 years of this age)^-power: rare ages come up more often."""
    ages = np.array([s.age for s in samples])
    histogram = np.bincount(ages.astype(int), minlength=120).astype(float)
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / 3) ** 2)
    density = np.convolve(histogram, kernel / kernel.sum(), mode="same")
    chances = density[ages.astype(int)] ** -power
    normalised: Array = chances / chances.sum()
    return normalised


def _stack(crops: Sequence[Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
