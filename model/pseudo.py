"""Labels what people have not: python -m model.pseudo smile WEIGHTS [WEIGHTS ...] --out smile.npz.

The mean of several networks on the training faces that lack a class label ('source/name' → probability), for a pupil to
learn from beside the labelled ones (noisy student, Xie et al. 2020): the `pseudo` of a recipe's data.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from model import checkpoint
from model.datasets import mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.tasks import TASKS

BATCH = 64
LABELS = {name: TASKS[name].label for name in ("smile", "gender")}


@torch.inference_mode()
def label(networks: Sequence[AllInOne], task: str, faces: AlignedFaces) -> dict[str, float]:
    """'source/name' → the networks' mean probability of class 1, over chip and mirror."""
    found = {}
    for start in tqdm(range(0, len(faces.samples), BATCH), "label", unit="batch", mininterval=5.0):
        chosen = range(start, min(start + BATCH, len(faces.samples)))
        chips = faces.exact(chosen)["crops"].float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            views = [TASKS[task].read(network(x, [task])[task]) for network in networks for x in (chips, chips.flip(3))]
        for i, chance in zip(chosen, torch.stack(views).mean(dim=0).tolist(), strict=True):
            found[f"{faces.samples[i].source}/{faces.samples[i].name}"] = chance
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=LABELS)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    networks = [checkpoint.build_network(checkpoint.load(path)) for path in arguments.weights]
    all_faces, empty = mixture.photos()
    name = LABELS[arguments.task]
    lacking = [s for s in all_faces if s.split == "train" and np.isnan(getattr(s, name))]
    faces = AlignedFaces(lacking, PhotoStore(all_faces + empty), networks[0].config.input_size, (name,))
    found = label(networks, arguments.task, faces)
    chances = np.array(list(found.values()), np.float32)
    np.savez_compressed(arguments.out, **{"names": np.array(list(found)), name: chances})  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
