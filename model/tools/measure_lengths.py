"""Find which faces need a mirror image: python -m model.tools.measure_lengths WEIGHTS --out FILE.

A face with a long descriptor does without its mirror image (model/runtime/second_pass.py). Which length is long depends
on the network. It is measured on faces of CelebA's validation people, whom nothing learnt from, cut by their marked
landmarks. FILE is joined to the checkpoint by model.checkpoint before the checkpoint is calibrated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model import checkpoint
from model.datasets import Array
from model.datasets.aligned import AlignedFaces
from model.datasets.readers import celeba
from model.datasets.store import Photos, PhotoStore
from model.network import AllInOne
from model.runtime.second_pass import MIRROR_LENGTHS, lengths
from model.training.frozen import compiled

CHUNK = 8
SHARES = (0.1, 1 / 3)
"""Shares of the faces that have a shorter descriptor than each of the two lengths: a tenth is mirrored in full, two
thirds are not mirrored (docs/log.md, 'mirror images where they help')."""


class _Descriptor(nn.Module):
    """Chips [K, 3, S, S] → their descriptors [K, 512], as long as they come."""

    def __init__(self, network: AllInOne) -> None:
        super().__init__()
        self.network = network

    def forward(self, chips: Tensor) -> Tensor:
        descriptor: Tensor = self.network(chips, ("descriptor",))["descriptor"]
        return descriptor


def descriptor_lengths(network: AllInOne, faces: AlignedFaces, threads: int = 1) -> Array:
    """Return the lengths [N] of the faces' descriptors, each of its exact chip. Raises ImportError without OpenVINO."""
    example = torch.zeros(2, 3, faces.size, faces.size, dtype=torch.uint8)
    describe = compiled(_Descriptor(network), example, threads, "f32")
    found = []
    for start in range(0, len(faces.samples), CHUNK):
        chips = faces.exact(range(start, min(start + CHUNK, len(faces.samples))))["crops"]
        found.append(lengths(describe(chips)[0]))
    return np.concatenate(found)


def main() -> None:
    """Measure the network that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--out", type=Path, required=True, help="file with the two lengths, to be joined")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    network = checkpoint.build_network(checkpoint.load(arguments.weights))
    samples = [s for s in celeba.read("celeba_wild") + celeba.read("celeba_aligned_small") if s.split == "val"]
    photos: Photos = PhotoStore(samples)
    faces = AlignedFaces(samples, photos, network.config.input_size, (), frame=network.config.frame)
    found = np.quantile(descriptor_lengths(network, faces, arguments.threads), SHARES)
    measured = [round(float(length), 2) for length in found]
    checkpoint.save(arguments.out, {}, {MIRROR_LENGTHS: measured})
    sys.stdout.write(f"{len(faces.samples)} faces: {measured[0]} and {measured[1]}\n")


if __name__ == "__main__":
    main()
