"""Regions of photos by overlap with the marked face: what detection, landmarks, visibility and pose learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from model import geometry
from model import landmarks as markup
from model.datasets import Array, Sample
from model.datasets.augment import degrade, jitter_matrix, mirror_matrix
from model.datasets.covering import cover
from model.datasets.harm import harm
from model.datasets.loaders import Batch
from model.datasets.store import Photos
from model.geometry import Image

MISSED = "missed"
"""Entry of the file of model.tools.mine_hard_examples, and region weight, of the faces that a detector missed."""

HIDDEN = 0.1
"""Weight of a hidden point among the landmarks: where it must be is still worth knowing."""
ASIDE = "aside"
"""Region weight of the faces that look ASIDE_YAW degrees or more to a side."""
ASIDE_YAW = 35.0


@dataclass(frozen=True)
class Hardships:
    """Shares of the regions that are made harder than the photos are."""

    turned: float = 0.0  # at any angle; the others lie within some tens of degrees of upright
    covered: float = 0.0  # of the faces: something before them, model.datasets.covering
    harmed: float = 0.0  # dark, small, blurred or packed tightly, model.datasets.harm


class Regions:
    """Regions of photos by their overlap with the face marked in them: detection, landmarks, visibility, pose.

    Overlap > 0.5 is a face, < 0.35 is none, between is neither; landmarks, visibility and pose learn from overlaps
    over 0.35 (section III-C1). Photos without a face give negatives; `hard` is what model.tools.mine_hard_examples
    wrote: boxes in them that an earlier detector took for faces, and the names of the faces it missed. `weights` by
    source and of those.
    """

    POSITIVE = 0.5
    NEGATIVE = 0.35

    def __init__(
        self,
        samples: Sequence[Sample],
        backgrounds: Sequence[Sample],
        photos: Photos,
        size: int,
        negatives: float = 0.4,
        hard: dict[str, Array] | None = None,
        weights: dict[str, float] | None = None,
        hardships: Hardships = Hardships(),
        boxes: Array | None = None,
    ) -> None:
        """Take samples with `boxes` [N, 4]; without, boxes follow from landmarks, and samples without are left out."""
        self.hardships = hardships
        self.backgrounds = list(backgrounds)
        self.photos = photos
        self.size = size
        self.negatives = negatives
        if boxes is None:
            samples = [s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all()]
            points = torch.from_numpy(np.stack([s.landmarks for s in samples if s.landmarks is not None])).float()
            boxes = geometry.box_from_landmarks(points).numpy()
            self._safe = [i for i, s in enumerate(samples) if self.safe(s)]
        else:
            self._safe = [i for i, s in enumerate(samples) if s.faces == 1]
        self.samples = list(samples)
        self.boxes = boxes
        mined = hard or {}
        self.hard = [(s, box) for s in (*backgrounds, *samples) for box in mined.get(f"{s.source}/{s.name}", ())]
        source_weights = weights or {}
        missed_names = set(mined.get(MISSED, ()))
        chances = np.array([source_weights.get(s.source, 1.0) for s in self.samples])
        chances *= [
            source_weights.get(MISSED, 1.0) if f"{s.source}/{s.name}" in missed_names else 1.0 for s in self.samples
        ]
        chances *= [
            source_weights.get(ASIDE, 1.0) if s.pose is not None and abs(s.pose[2]) > ASIDE_YAW else 1.0
            for s in self.samples
        ]
        self._up_to = np.cumsum(chances / chances.sum())

    @staticmethod
    def safe(sample: Sample) -> bool:
        """Return whether a region beside the marked face holds no face: the labelling detector saw no other one."""
        finite = sample.landmarks is not None and bool(np.isfinite(sample.landmarks).all())
        return finite and sample.faces == 1 and sample.source in ("celeba_wild", "mtfl_net")

    def batch(self, count: int, rng: np.random.Generator) -> Batch:
        """Return `count` regions: faces with jittered boxes, and negatives."""
        rows = []
        for _ in range(count):
            if rng.random() < self.negatives:
                rows.append(self._negative(rng))
            else:
                drawn = int(np.searchsorted(self._up_to, rng.random()))
                rows.append(self._face(min(drawn, len(self.samples) - 1), rng))
        return _collate(rows)

    def exact(self, indices: Sequence[int], angles: Sequence[float] | None = None) -> Batch:
        """Return the samples' own boxes as regions of photos as they are or turned by degrees: what validation sees."""
        spins = [_spin(angle) for angle in angles] if angles else [None] * len(indices)
        pairs = zip(indices, spins, strict=True)
        return _collate([self._region(i, self._turned_box(i, spin), np.eye(3), False, spin) for i, spin in pairs])

    def exact_negatives(self, count: int, seed: int = 0) -> Batch:
        """Return `count` negatives, unchanged and always the same: what validation sees."""
        rng = np.random.default_rng(seed)
        return _collate([self._negative(rng, plain=True) for _ in range(count)])

    def _turned_box(self, i: int, spin: Array | None) -> Array:
        """Return the face's box in the photo turned by `spin`: a turned face's box is that of its turned landmarks."""
        if spin is None:
            marked: Array = self.boxes[i]
            return marked
        points = np.asarray(self.samples[i].landmarks) @ spin[:2, :2].T
        box: Array = geometry.box_from_landmarks(torch.from_numpy(points[None]).float())[0].numpy()
        return box

    def _face(self, i: int, rng: np.random.Generator) -> Batch:
        spin = _spin(rng.uniform(-180, 180)) if rng.random() < self.hardships.turned else None
        whole = self._turned_box(i, spin)
        truth = torch.from_numpy(whole[None])
        side = float(truth[0, 2] - truth[0, 0])
        spread = rng.choice([0.5, 1.0, 2.0], p=[0.5, 0.35, 0.15])  # refined boxes, proposals, poor proposals
        for _ in range(20):
            shift = rng.normal(0, 0.06 * spread, 2) * side
            half = side * np.exp(rng.normal(0, 0.1 * spread)) / 2
            centre = (whole[:2] + whole[2:]) / 2 + shift
            box = np.concatenate([centre - half, centre + half]).astype(np.float32)
            if float(geometry.box_iou(torch.from_numpy(box)[None], truth)) > self.NEGATIVE:
                break
        else:
            box = whole
        turn = jitter_matrix(self.size, rng, rng.choice([10, 50], p=[0.8, 0.2]), 0, 0)  # some people lie
        if rng.random() < 0.5:
            turn = mirror_matrix(self.size) @ turn
        region = self._region(i, box, turn, bool(np.linalg.det(turn[:2, :2]) < 0), spin)
        crop = np.ascontiguousarray(region["crops"].permute(1, 2, 0).numpy())
        if rng.random() < self.hardships.covered:
            points = (region["landmarks"].numpy() / geometry.REGION_SCALE + 0.5) * self.size
            crop, visibility = cover(crop, points, region["visibility"].numpy(), rng)
            region["visibility"] = torch.from_numpy(visibility)
            region["landmark_weight"] = _landmark_weight(visibility)
        region["crops"] = torch.from_numpy(self._degraded(crop, rng)).permute(2, 0, 1)
        return region

    def _degraded(self, crop: Image, rng: np.random.Generator) -> Image:
        crop = degrade(crop, rng)
        return harm(crop, rng) if rng.random() < self.hardships.harmed else crop

    def _region(self, i: int, box: Array, turn: Array, mirrored: bool, spin: Array | None = None) -> Batch:
        """Crop and labels of one region; `spin` [3, 3] acts on the photo before the box is cut, `turn` on the crop."""
        sample = self.samples[i]
        marked = np.full((markup.COUNT, 2), np.nan) if sample.landmarks is None else sample.landmarks
        before = np.eye(3) if spin is None else spin
        matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
        matrix = turn @ np.vstack([matrix, (0, 0, 1)]) @ before
        crop = geometry.warp(self.photos[sample], matrix[:2], self.size)
        points = marked @ matrix[:2, :2].T + matrix[:2, 2]
        # Region units: REGION_SCALE of the box is the whole crop.
        points = (points / self.size - 0.5) * geometry.REGION_SCALE
        visibility = sample.visibility if sample.visibility is not None else np.full(markup.COUNT, np.nan)
        pose = np.deg2rad(sample.pose) if sample.pose is not None else np.full(3, np.nan)
        if mirrored:
            points = points[list(markup.MIRROR)]
            visibility = visibility[list(markup.MIRROR)]
            pose = pose * (-1, 1, -1)
        # roll > 0 is clockwise in the image, so a turned crop turns the roll with it; the circle ends at ±180°.
        roll = pose[0] + _turn_angle(turn @ before, mirrored)
        pose = np.array([(roll + np.pi) % (2 * np.pi) - np.pi, pose[1], pose[2]])
        truth = torch.from_numpy(self._turned_box(i, spin)[None])
        overlap = float(geometry.box_iou(torch.from_numpy(box)[None], truth))
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
        elif self.backgrounds and (kind < 0.8 or not self._safe):
            sample = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
            box = random_box(self.photos[sample], rng)
        else:
            sample, box = self._beside_face(rng)
        matrix = geometry.region_matrices(torch.from_numpy(box[None]), self.size)[0].double().numpy()
        crop = geometry.warp(self.photos[sample], matrix, self.size)
        if not plain:
            if self.hardships.turned and rng.random() < 0.5:
                crop = np.rot90(crop, int(rng.integers(4)))
            crop = self._degraded(np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop), rng)
        return region_row(
            crop, 0.0, np.full((markup.COUNT, 2), np.nan), np.full(markup.COUNT, np.nan), np.full(3, np.nan)
        )

    def _beside_face(self, rng: np.random.Generator) -> tuple[Sample, Array]:
        """Return a box that misses the marked face: elsewhere in the photo, or a part or surroundings of the face."""
        i = self._safe[int(rng.integers(len(self._safe)))]
        sample = self.samples[i]
        truth = self.boxes[i]
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
        if not self.backgrounds:
            return self._beside_face(rng)
        sample = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        return sample, random_box(self.photos[sample], rng)


def _spin(angle: float) -> Array:
    """Return the map [3, 3] that turns a photo about its corner by an angle in degrees, clockwise in the image."""
    cosine = np.cos(np.deg2rad(angle))
    sine = np.sin(np.deg2rad(angle))
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])


def _turn_angle(turn: Array, mirrored: bool) -> float:
    linear = turn[:2, :2] @ np.diag([-1.0 if mirrored else 1.0, 1.0])
    return float(np.arctan2(linear[1, 0], linear[0, 0]))


def random_box(photo: Image, rng: np.random.Generator) -> Array:
    """Return a square box [4] of any size, at most a little outside the photo."""
    height, width = photo.shape[:2]
    longest = min(height, width) * 1.1
    side = np.exp(rng.uniform(np.log(min(16, longest / 2)), np.log(longest)))
    x, y = rng.uniform(-0.2 * side, width - 0.8 * side), rng.uniform(-0.2 * side, height - 0.8 * side)
    return np.array([x, y, x + side, y + side], np.float32)


def region_row(crop: Image, detection: float, points: Array, visibility: Array, pose: Array) -> Batch:
    """Return a region's crop and labels: detection 1, 0, NaN; points in region units; pose in radians; else NaN."""
    return {
        "crops": torch.from_numpy(crop).permute(2, 0, 1),
        "detection": torch.tensor(detection),
        "landmarks": torch.from_numpy(np.asarray(points, np.float32)),
        "landmark_weight": _landmark_weight(visibility),
        "visibility": torch.from_numpy(np.asarray(visibility, np.float32)),
        "pose": torch.from_numpy(np.asarray(pose, np.float32)),
    }


def _landmark_weight(visibility: Array) -> torch.Tensor:
    visible = np.where(np.isnan(visibility), 1.0, HIDDEN + (1 - HIDDEN) * np.nan_to_num(visibility))
    return torch.from_numpy(visible.astype(np.float32))


def _collate(rows: Sequence[Batch]) -> Batch:
    return {key: torch.stack([row[key] for row in rows]) for key in rows[0]}
