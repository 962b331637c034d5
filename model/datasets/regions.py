"""Regions of photos by overlap with the marked face: what detection, landmarks, visibility and pose learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from model import geometry
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.augment import degrade, jitter_matrix, mirror_matrix
from model.datasets.loaders import Batch
from model.datasets.store import PhotoStore
from model.geometry import Image

MISSED = "missed"
"""Entry of the mined file, and region weight, of the faces that an earlier detector missed (model.mine)."""


class Regions:
    """Regions of photos by their overlap with the face marked in them: detection, landmarks, visibility, pose.

    Overlap > 0.5 is a face, < 0.35 is none, between is neither; landmarks, visibility and pose learn from overlaps
    over 0.35 (section III-C1). Photos without a face give negatives; `hard` is what model.mine found: boxes in them
    that an earlier detector took for faces, and the names of the faces it missed. `weights` by source and of those.
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
        by, lost = weights or {}, set(mined.get(MISSED, ()))
        chances = np.array([by.get(s.source, 1.0) for s in self.samples])
        chances *= [by.get(MISSED, 1.0) if f"{s.source}/{s.name}" in lost else 1.0 for s in self.samples]
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
        return region_row(
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
            box = random_box(self.photos[sample], rng)
        else:
            sample, box = self._beside_face(rng)
        matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
        crop = geometry.warp(self.photos[sample], matrix, self.size)
        if not plain:
            crop = degrade(np.ascontiguousarray(crop[:, ::-1]) if rng.random() < 0.5 else crop, rng)
        return region_row(
            crop, 0.0, np.full((markup.COUNT, 2), np.nan), np.full(markup.COUNT, np.nan), np.full(3, np.nan)
        )

    def _beside_face(self, rng: np.random.Generator) -> tuple[Sample, Array]:
        """A box that misses the marked face: elsewhere in the photo, or a part or surroundings of the face itself."""
        i = self._safe[int(rng.integers(len(self._safe)))]
        sample, truth = self.samples[i], self.boxes[i]
        side = truth[2] - truth[0]
        for _ in range(20):
            if rng.random() < 0.5:
                box = random_box(self.photos[sample], rng)
            else:
                half = side * np.exp(rng.uniform(-1.6, 0.9)) / 2
                centre = (truth[:2] + truth[2:]) / 2 + rng.normal(0, 0.45, 2) * side
                box = np.concatenate([centre - half, centre + half]).astype(np.float32)
            overlap = geometry.box_iou(torch.from_numpy(box)[None], torch.from_numpy(truth[None]))
            if float(overlap) < self.NEGATIVE:
                return sample, box
        sample = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return sample, random_box(self.photos[sample], rng)


def _turn_angle(turn: Array, mirrored: bool) -> float:
    linear = turn[:2, :2] @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return float(np.arctan2(linear[1, 0], linear[0, 0]))


def random_box(photo: Image, rng: np.random.Generator) -> Array:
    """A square box [4] of any size, at most a little outside the photo."""
    height, width = photo.shape[:2]
    longest = min(height, width) * 1.1
    side = np.exp(rng.uniform(np.log(min(16, longest / 2)), np.log(longest)))
    x, y = rng.uniform(-0.2 * side, width - 0.8 * side), rng.uniform(-0.2 * side, height - 0.8 * side)
    return np.array([x, y, x + side, y + side], np.float32)


def region_row(crop: Image, detection: float, points: Array, visibility: Array, pose: Array) -> Batch:
    """One region's crop and labels: detection 1, 0 or NaN, points in region units, pose in radians; NaN unlabelled."""
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
