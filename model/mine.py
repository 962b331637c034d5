"""Mines hard negatives: python -m model.mine WEIGHTS --out hard.npz.

Runs the proposer over the training photos; the boxes it likes best that hold no face are what the network must learn
to refuse. Photos with a face give only boxes that miss it (IoU < 0.35), and only where no second face may stand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model import geometry
from model.datasets import Array, Sample, mixture
from model.datasets.loaders import Regions
from model.datasets.store import PhotoStore
from model.pipeline import Analyzer, AnalyzerConfig


def mine(analyzer: Analyzer, samples: Sequence[Sample], photos: PhotoStore, per_photo: int) -> dict[str, Array]:
    """The best false proposals of each photo, 'source/name' → boxes [M, 4], M ≤ per_photo."""
    found: dict[str, Array] = {}
    for sample in tqdm(samples, "mine", unit="photo", mininterval=5.0):
        boxes = analyzer.propose(photos[sample]).boxes
        if sample.landmarks is not None:
            truth = geometry.box_from_landmarks(torch.from_numpy(sample.landmarks[None]).float())
            boxes = boxes[geometry.box_iou(boxes, truth)[:, 0] < Regions.NEGATIVE]
        if len(boxes):
            found[f"{sample.source}/{sample.name}"] = boxes[:per_photo].numpy()
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-photo", type=int, default=12)
    parser.add_argument("--faces", type=int, default=3000, help="photos with a face to mine beside all backgrounds")
    arguments = parser.parse_args()
    faces, empty = mixture.photos()
    photos = PhotoStore(faces + empty)
    safe = [s for s in faces if s.split == "train" and Regions.safe(s)]
    chosen = [s for s in empty if s.split == "train"] + safe[:: max(1, len(safe) // arguments.faces)]
    analyzer = Analyzer(AnalyzerConfig(weights=arguments.weights))
    found = mine(analyzer, chosen, photos, arguments.per_photo)
    np.savez_compressed(arguments.out, **found)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
