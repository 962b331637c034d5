"""Photos through one Analyzer, in batches and each only once, however many protocols ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from model import boxes as boxes_
from model.checkpoint_file import SHIPPED, read_checkpoint_file
from model.datasets import Sample, data_dir
from model.datasets.store import read_photo
from model.evaluate import metrics
from model.identity.projection import LearnedProjection
from model.runtime.limits import LOW_SCORE, MIN_SCORE, Limits
from model.runtime.pipeline import Analyzer
from model.structures import Faces

BATCH = 16
FOUND_IOU = 0.5
"""A marked face is found when a detection overlaps its box at least this much (PASCAL VOC)."""

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Analyzed:
    """A sample with the faces found in its photo of width × height, in the photo's own pixels."""

    sample: Sample
    faces: Faces
    width: int
    height: int

    def main_face(self) -> int | None:
        """Return the index of the face that a photo of one person is of: large and central; None without faces.

        It has the highest area − 2 · (distance of its centre to the photo's centre)², InsightFace's rule.
        """
        if not len(self.faces):
            return None
        boxes = self.faces.boxes
        offset = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([self.width, self.height]) / 2
        area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return int((area - 2 * (offset**2).sum(axis=1)).argmax())

    def marked_face(self) -> int | None:
        """Return the index of the face that overlaps the marked one most; None when none reaches FOUND_IOU."""
        box = reference_box(self.sample)
        if box is None or not len(self.faces):
            return None
        overlap = metrics.iou(self.faces.boxes, box)[:, 0]
        best = int(overlap.argmax())
        return best if overlap[best] >= FOUND_IOU else None


def reference_box(sample: Sample) -> metrics.Floats | None:
    """Return the marked face's box [1, 4], by the pipeline's own rule from landmarks to box.

    None for a sample that lacks one of the 21 landmarks.
    """
    if sample.landmarks is None or np.isnan(sample.landmarks).any():
        return None
    return boxes_.from_landmarks(np.asarray(sample.landmarks, dtype=np.float32)[None])


class Run:
    """One Analyzer, where its data lie, how many samples to take, and what it has found so far."""

    def __init__(
        self, analyzer: Analyzer, data: Path | None = None, limit: int | None = None, folds: Path | None = None
    ) -> None:
        self.analyzer = analyzer
        self.data = data
        self.limit = limit
        self.folds = folds  # of checkpoints, one a fold, for protocols that fine-tune by fold
        self._found: dict[Path, Analyzed] = {}

    @cached_property
    def projection(self) -> LearnedProjection | None:
        """Return the checkpoint's triplet probabilistic embedding, None when it has none."""
        return LearnedProjection.of(read_checkpoint_file(self.analyzer.config.weights or SHIPPED))

    def root(self, name: str) -> Path:
        """Return a data set's folder: inside `data` where that was given, else the cache. Raises FileNotFoundError."""
        if self.data is None:
            return data_dir(name)
        if not (self.data / name).is_dir():
            raise FileNotFoundError(f"data set {name}: no folder {self.data / name}")
        return self.data / name

    def some(self, items: Sequence[Item]) -> list[Item]:
        """Return all items, or `limit` of them evenly spread."""
        if self.limit is None or self.limit >= len(items):
            return list(items)
        return [items[i * len(items) // self.limit] for i in range(self.limit)]

    def analyze(self, samples: Sequence[Sample], title: str, min_score: float = MIN_SCORE) -> list[Analyzed]:
        """Return the faces in each sample's photo, in order.

        A score threshold from LOW_SCORE up changes nothing but which faces are reported, so every photo is analyzed
        once at LOW_SCORE and the faces below min_score are left out afterwards.
        """
        missing = list({s.path: s for s in samples if s.path not in self._found}.values())
        with tqdm(total=len(missing), desc=title, unit="photo", disable=None, leave=False) as bar:
            for start in range(0, len(missing), BATCH):
                group = missing[start : start + BATCH]
                photos = [read_photo(s.path) for s in group]
                results = self.analyzer.analyze(photos, Limits(min_score=LOW_SCORE))
                for sample, photo, faces in zip(group, photos, results, strict=True):
                    height, width = photo.shape[:2]
                    self._found[sample.path] = Analyzed(sample, faces, width, height)
                bar.update(len(group))
        found_again = [replace(self._found[s.path], sample=s) for s in samples]
        return [replace(a, faces=a.faces[a.faces.scores >= min_score]) for a in found_again]
