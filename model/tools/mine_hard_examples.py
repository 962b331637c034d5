"""Mines what the network gets wrong: python -m model.tools.mine_hard_examples WEIGHTS --out hard.npz.

Hard negatives: the boxes without a face that the proposer likes best. Photos with a face give only boxes that miss it
(IoU < 0.35), and only where no second face may stand. Hard faces: marked ones that get a score below SURE, profiles and
covered faces above all; the loaders draw them more often (`missed` of a recipe's region_weights).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model import boxes as boxes_
from model.datasets import Array, Sample, mixture
from model.datasets.regions import MISSED, Regions
from model.datasets.store import PhotoStore
from model.runtime.limits import LOW_SCORE, Limits
from model.runtime.pipeline import Analyzer, AnalyzerConfig

SURE = 0.95


def mine(analyzer: Analyzer, samples: Sequence[Sample], photos: PhotoStore, per_photo: int) -> dict[str, Array]:
    """Return boxes [M, 4] by 'source/name': each photo's best false detections, then proposals; M ≤ per_photo.

    Photos with a face, in which other faces may stand, give proposals alone.
    """
    mined: dict[str, Array] = {}
    for sample in tqdm(samples, "mine", unit="photo", mininterval=5.0):
        boxes = analyzer.propose(photos[sample]).boxes
        if sample.landmarks is None and len(boxes):
            [faces] = analyzer.analyze([photos[sample]], Limits(min_score=LOW_SCORE))
            boxes = np.concatenate([faces.boxes, boxes])
        if sample.landmarks is not None:
            boxes = boxes[_overlap(boxes, sample) < Regions.NEGATIVE]
        if len(boxes):
            mined[f"{sample.source}/{sample.name}"] = boxes[:per_photo]
    return mined


def missed(analyzer: Analyzer, samples: Sequence[Sample], photos: PhotoStore) -> list[str]:
    """Return 'source/name' of the samples whose marked face has no detection of a score ≥ SURE."""
    names = []
    for sample in tqdm(samples, "missed", unit="photo", mininterval=5.0):
        [faces] = analyzer.analyze([photos[sample]], Limits(min_score=LOW_SCORE))
        right = _overlap(faces.boxes, sample) > Regions.POSITIVE
        if not (right & (faces.scores >= SURE)).any():
            names.append(f"{sample.source}/{sample.name}")
    return names


def _overlap(boxes: Array, sample: Sample) -> Array:
    truth = boxes_.from_landmarks(np.asarray(sample.landmarks, np.float32)[None])
    return boxes_.iou(boxes, truth)[:, 0]


def main() -> None:
    """Read the command line and write what the detector got wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-photo", type=int, default=12)
    parser.add_argument("--faces", type=int, default=3000, help="photos with a face to mine beside all backgrounds")
    parser.add_argument("--missed", action=argparse.BooleanOptionalAction, default=True, help="mine hard faces, too")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    faces, empty = mixture.photos()
    photos = PhotoStore(faces + empty)
    safe = [s for s in faces if s.split == "train" and Regions.safe(s)]
    safe = safe[:: max(1, len(safe) // arguments.faces)]
    analyzer = Analyzer(AnalyzerConfig(weights=arguments.weights, threads=arguments.threads or 0))
    mined = mine(analyzer, [s for s in empty if s.split == "train"] + safe, photos, arguments.per_photo)
    mined[MISSED] = np.array(missed(analyzer, safe, photos) if arguments.missed else [], str)
    np.savez_compressed(arguments.out, **mined)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
