"""Labels training faces by networks: python -m model.tools.pseudo_label WEIGHTS [WEIGHTS ...] --out labels.npz.

For every training face the mean answer of the networks over chip and mirror: age in years, probability of 'female' and
of a smile. A recipe's data take them as `pseudo`: where people gave no label, and with `pseudo_share` also mixed into
the labels that people gave (noisy student, Xie et al. 2020).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model import checkpoint
from model.datasets import Array, Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.store import Photos, PhotoStore
from model.network import AllInOne
from model.tasks import TASKS

BATCH = 64
LABELS = {name: TASKS[name].label for name in ("age", "gender", "smile")}


@torch.inference_mode()
def label(network: AllInOne, faces: AlignedFaces) -> dict[str, Array]:
    """Return the network's mean answer [N] over chip and mirror for the label of each task it has."""
    tasks = [name for name in LABELS if name in network.config.deep]
    answers: dict[str, list[Tensor]] = {LABELS[name]: [] for name in tasks}
    for start in tqdm(range(0, len(faces.samples), BATCH), "label", unit="batch", mininterval=30.0):
        rows = range(start, min(start + BATCH, len(faces.samples)))
        chips = faces.exact(rows)["crops"].float().contiguous(memory_format=torch.channels_last)
        views = [network(view, tasks) for view in (chips, chips.flip(3))]
        for name in tasks:
            answers[LABELS[name]].append(torch.stack([TASKS[name].read(view[name]) for view in views]).mean(dim=0))
    return {name: torch.cat(parts).numpy().astype(np.float32) for name, parts in answers.items()}


def label_all(networks: Sequence[AllInOne], samples: Sequence[Sample], photos: Photos) -> dict[str, Array]:
    """Return the mean of the networks' answers by label, and under `names` the faces' 'source/name'.

    Faces without all 21 landmarks are left out. Each network sees them cut by its own frame and size.
    """
    by_network = []
    for network in networks:
        faces = AlignedFaces(samples, photos, network.config.input_size, (), frame=network.config.frame)
        by_network.append(label(network, faces))
    means = {name: np.mean([answers[name] for answers in by_network], axis=0) for name in by_network[0]}
    return {"names": np.array([f"{s.source}/{s.name}" for s in faces.samples]), **means}


def main() -> None:
    """Read the command line and write the labels of all training faces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    networks = [checkpoint.build_network(checkpoint.load(path)) for path in arguments.weights]
    faces, empty = mixture.photos()
    train = [sample for sample in faces if sample.split == "train"]
    np.savez_compressed(arguments.out, **label_all(networks, train, PhotoStore(faces + empty)))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
