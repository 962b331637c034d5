"""The seeded mixture of loaders: batch t is a pure function of the recipe, the seed and t, so resuming is exact.

Each loader draws from one domain and yields only the labels that domain has: those keys decide which heads learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Event, Thread

import numpy as np
import torch
from torch import Tensor

from model import geometry
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.augment import degrade, jitter_matrix, mirror_matrix
from model.datasets.store import PhotoStore
from model.geometry import Image

Batch = dict[str, Tensor]
"""'crops' uint8 [K, 3, S, S] and label tensors of length K."""


class AlignedFaces:
    """Faces cut by the canonical face (age, gender, smile, identity, the teacher's embedding)."""

    def __init__(
        self,
        samples: Sequence[Sample],
        photos: PhotoStore,
        size: int,
        labels: Sequence[str],
        subjects: dict[str, int] | None = None,
        jitter: float = 1.0,
        balance_age: float = 0.0,
    ) -> None:
        self.samples = [s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all()]
        if not self.samples:
            raise ValueError("no sample with landmarks to align by")
        self.photos, self.size, self.labels = photos, size, tuple(labels)
        self.subjects, self.jitter = subjects or {}, jitter
        points = torch.from_numpy(np.stack([s.landmarks for s in self.samples if s.landmarks is not None])).float()
        self._matrices = geometry.alignment_matrices(points, size).double().numpy()
        self._chances = _age_chances(self.samples, balance_age) if balance_age else None

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` random faces, mirrored half the time, jittered and degraded."""
        chosen = rng.choice(len(self.samples), count, p=self._chances)
        crops = []
        for i in chosen:
            matrix = np.vstack([self._matrices[i], (0, 0, 1)])
            matrix = jitter_matrix(self.size, rng, 4 * self.jitter, 0.04 * self.jitter, 0.02 * self.jitter) @ matrix
            if rng.random() < 0.5:
                matrix = mirror_matrix(self.size) @ matrix
            crop = geometry.warp(self.photos[self.samples[i]], matrix[:2], self.size)
            crops.append(degrade(crop, rng) if self.jitter else crop)
        return {"crops": _stack(crops)} | self._targets([self.samples[i] for i in chosen])

    def exact(self, indices: Sequence[int]) -> Batch:
        """The named samples' chips, unchanged: what validation sees."""
        chosen = [self.samples[i] for i in indices]
        crops = [geometry.warp(self.photos[self.samples[i]], self._matrices[i], self.size) for i in indices]
        return {"crops": _stack(crops)} | self._targets(chosen)

    def _targets(self, chosen: Sequence[Sample]) -> Batch:
        targets: Batch = {}
        for label in self.labels:
            if label == "subject":
                numbers = [self.subjects.get(s.subject, -1) if s.subject else -1 for s in chosen]
                targets[label] = torch.tensor(numbers)
                targets["person"] = torch.tensor([int(s.subject) if s.subject else -1 for s in chosen])
            elif label == "embedding":
                rows = [np.full(128, np.nan) if s.embedding is None else s.embedding for s in chosen]
                targets[label] = torch.from_numpy(np.stack(rows)).float()
            else:
                targets[label] = torch.tensor([getattr(s, label) for s in chosen])
        return targets


def _age_chances(samples: Sequence[Sample], power: float) -> Array:
    """Sampling chances ∝ (photos within about 3 years of this age)^-power: rare ages come up more often."""
    ages = np.array([s.age for s in samples])
    histogram = np.bincount(ages.astype(int), minlength=120).astype(float)
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / 3) ** 2)
    density = np.convolve(histogram, kernel / kernel.sum(), mode="same")
    chances = density[ages.astype(int)] ** -power
    normalised: Array = chances / chances.sum()
    return normalised


class Regions:
    """Regions of photos by their overlap with the face marked in them: detection, landmarks, visibility, pose.

    Overlap > 0.5 is a face, < 0.35 is none, between is neither; landmarks, visibility and pose learn from overlaps
    over 0.35 (section III-C1). Photos without a face give negatives; `hard` are boxes in them that an earlier
    detector took for faces.
    """

    POSITIVE, NEGATIVE = 0.5, 0.35

    def __init__(
        self,
        samples: Sequence[Sample],
        backgrounds: Sequence[Sample],
        photos: PhotoStore,
        size: int,
        negatives: float = 0.4,
        hard: dict[str, Array] | None = None,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.samples = [s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all()]
        self.backgrounds, self.photos, self.size, self.negatives = list(backgrounds), photos, size, negatives
        points = torch.from_numpy(np.stack([s.landmarks for s in self.samples if s.landmarks is not None])).float()
        self.boxes = geometry.box_from_landmarks(points).numpy()
        mined = hard or {}
        self.hard = [(s, box) for s in (*backgrounds, *samples) for box in mined.get(f"{s.source}/{s.name}", ())]
        self._safe = [i for i, s in enumerate(self.samples) if self.safe(s)]
        chances = np.array([(weights or {}).get(s.source, 1.0) for s in self.samples])
        self._chances = chances / chances.sum()

    @staticmethod
    def safe(sample: Sample) -> bool:
        """Whether what misses the marked face is no face: the labelling detector saw no other one in the photo."""
        finite = sample.landmarks is not None and bool(np.isfinite(sample.landmarks).all())
        return finite and sample.faces == 1 and sample.source in ("celeba_wild", "mtfl_net")

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """`count` regions: faces with jittered boxes, and negatives."""
        rows = []
        for _ in range(count):
            if rng.random() < self.negatives:
                rows.append(self._negative(rng))
            else:
                rows.append(self._face(int(rng.choice(len(self.samples), p=self._chances)), rng))
        return _collate(rows)

    def exact(self, indices: Sequence[int]) -> Batch:
        """The named samples' own boxes, unchanged: what validation sees."""
        return _collate([self._region(i, self.boxes[i], np.eye(3), False) for i in indices])

    def exact_negatives(self, count: int, seed: int = 0) -> Batch:
        """Fixed negatives for validation."""
        rng = np.random.default_rng(seed)
        return _collate([self._negative(rng, plain=True) for _ in range(count)])

    def _face(self, i: int, rng: np.random.Generator) -> Batch:
        truth = torch.from_numpy(self.boxes[i : i + 1])
        side = float(truth[0, 2] - truth[0, 0])
        spread = rng.choice([0.5, 1.0, 2.0], p=[0.5, 0.35, 0.15])  # refined boxes, proposals, poor proposals
        for _ in range(20):
            shift = rng.normal(0, 0.06 * spread, 2) * side
            half = side * np.exp(rng.normal(0, 0.1 * spread)) / 2
            centre = (self.boxes[i, :2] + self.boxes[i, 2:]) / 2 + shift
            box = np.concatenate([centre - half, centre + half]).astype(np.float32)
            if float(geometry.box_iou(torch.from_numpy(box)[None], truth)) > self.NEGATIVE:
                break
        else:
            box = self.boxes[i]
        turn = jitter_matrix(self.size, rng, rng.choice([10, 50], p=[0.8, 0.2]), 0, 0)  # some people lie
        if rng.random() < 0.5:
            turn = mirror_matrix(self.size) @ turn
        region = self._region(i, box, turn, mirrored=bool(np.linalg.det(turn[:2, :2]) < 0))
        region["crops"] = torch.from_numpy(degrade(region["crops"].permute(1, 2, 0).numpy(), rng)).permute(2, 0, 1)
        return region

    def _region(self, i: int, box: Array, turn: Array, mirrored: bool) -> Batch:
        """Crop and labels of one region; `turn` [3, 3] acts on the crop after the box is cut."""
        sample = self.samples[i]
        assert sample.landmarks is not None
        matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
        matrix = turn @ np.vstack([matrix, (0, 0, 1)])
        crop = geometry.warp(self.photos[sample], matrix[:2], self.size)
        points = sample.landmarks @ matrix[:2, :2].T + matrix[:2, 2]
        # Region units: REGION_SCALE of the box is the whole crop.
        points = (points / self.size - 0.5) * geometry.REGION_SCALE
        visibility = sample.visibility if sample.visibility is not None else np.full(markup.COUNT, np.nan)
        pose = np.deg2rad(sample.pose) if sample.pose is not None else np.full(3, np.nan)
        if mirrored:
            points, visibility = points[list(markup.MIRROR)], visibility[list(markup.MIRROR)]
            pose = pose * (-1, 1, -1)
        # roll > 0 is clockwise in the image, so a turned crop turns the roll with it.
        pose = pose + np.array([_turn_angle(turn, mirrored), 0, 0])
        overlap = float(geometry.box_iou(torch.from_numpy(box)[None], torch.from_numpy(self.boxes[i : i + 1])))
        return _row(
            crop,
            float(overlap > self.POSITIVE) if overlap > self.POSITIVE or overlap < self.NEGATIVE else np.nan,
            points,
            visibility,
            pose,
        )

    def _negative(self, rng: np.random.Generator, plain: bool = False) -> Batch:
        kind = rng.random()
        if self.hard and kind < 0.5:
            sample, box = self.hard[int(rng.integers(len(self.hard)))]
            half = (box[2] - box[0]) / 2 * np.exp(rng.normal(0, 0.1))
            centre = (box[:2] + box[2:]) / 2 + rng.normal(0, 0.08, 2) * half
            box = np.concatenate([centre - half, centre + half]).astype(np.float32)
        elif kind < 0.8 or not self._safe:
            sample = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
            box = _random_box(self.photos[sample], rng)
        else:
            sample, box = self._beside_face(rng)
        matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
        crop = geometry.warp(self.photos[sample], matrix, self.size)
        if not plain:
            crop = degrade(np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop, rng)
        return _row(crop, 0.0, np.full((markup.COUNT, 2), np.nan), np.full(markup.COUNT, np.nan), np.full(3, np.nan))

    def _beside_face(self, rng: np.random.Generator) -> tuple[Sample, Array]:
        """A box that misses the marked face: elsewhere in the photo, or a part or surroundings of the face itself."""
        i = self._safe[int(rng.integers(len(self._safe)))]
        sample, truth = self.samples[i], self.boxes[i]
        side = truth[2] - truth[0]
        for _ in range(20):
            if rng.random() < 0.5:
                box = _random_box(self.photos[sample], rng)
            else:
                half = side * np.exp(rng.uniform(-1.6, 0.9)) / 2
                centre = (truth[:2] + truth[2:]) / 2 + rng.normal(0, 0.45, 2) * side
                box = np.concatenate([centre - half, centre + half]).astype(np.float32)
            overlap = geometry.box_iou(torch.from_numpy(box)[None], torch.from_numpy(truth[None]))
            if float(overlap) < self.NEGATIVE:
                return sample, box
        sample = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return sample, _random_box(self.photos[sample], rng)


def _turn_angle(turn: Array, mirrored: bool) -> float:
    linear = turn[:2, :2] @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return float(np.arctan2(linear[1, 0], linear[0, 0]))


def _random_box(photo: Image, rng: np.random.Generator) -> Array:
    height, width = photo.shape[:2]
    longest = min(height, width) * 1.1
    side = np.exp(rng.uniform(np.log(min(16, longest / 2)), np.log(longest)))
    x, y = rng.uniform(-0.2 * side, width - 0.8 * side), rng.uniform(-0.2 * side, height - 0.8 * side)
    return np.array([x, y, x + side, y + side], np.float32)


def _row(crop: Image, detection: float, points: Array, visibility: Array, pose: Array) -> Batch:
    visible = np.where(np.isnan(visibility), 1.0, 0.1 + 0.9 * np.nan_to_num(visibility))
    return {
        "crops": torch.from_numpy(crop).permute(2, 0, 1),
        "detection": torch.tensor(detection),
        "landmarks": torch.from_numpy(np.asarray(points, np.float32)),
        "landmark_weight": torch.from_numpy(visible.astype(np.float32)),
        "visibility": torch.from_numpy(np.asarray(visibility, np.float32)),
        "pose": torch.from_numpy(np.asarray(pose, np.float32)),
    }


def _collate(rows: Sequence[Batch]) -> Batch:
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}


def _stack(crops: Sequence[Image]) -> Tensor:
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Mixture:
    """Loaders by name with the share of batches that each gets."""

    loaders: dict[str, Callable[[int, np.random.Generator], Batch]]
    shares: dict[str, float]
    batch_size: int
    seed: int

    def batch(self, step: int) -> tuple[str, Batch]:
        """Source name and batch of one step: depends on nothing but the seed and the step."""
        rng = np.random.default_rng((self.seed, step))
        names = list(self.loaders)
        shares = np.array([self.shares[name] for name in names])
        name = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        return name, self.loaders[name](self.batch_size, rng)


def prefetch(
    make: Callable[[int], tuple[str, Batch]], first: int, last: int, depth: int = 3
) -> Iterator[tuple[str, Batch]]:
    """make(first) … make(last - 1) in order, made ahead by one thread; its exception is raised here."""
    ready: Queue[tuple[str, Batch] | BaseException] = Queue(depth)
    stop = Event()

    def work() -> None:
        for step in range(first, last):
            if stop.is_set():
                return
            try:
                ready.put(make(step))
            except BaseException as error:  # noqa: BLE001 - handed over to the consumer
                ready.put(error)
                return

    Thread(target=work, daemon=True).start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        while not ready.empty():  # a full queue would hold the thread for ever
            ready.get_nowait()
