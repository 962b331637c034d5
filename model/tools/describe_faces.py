"""Descriptors of labelled photos: aligned by their known landmarks, kept in the cache."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model import checkpoint, geometry
from model.datasets import Sample, cache_dir
from model.datasets.readers import celeba
from model.datasets.store import read_photo
from model.runtime.second_pass import lengths, mean_descriptors, mirror_lengths_of, mirror_weights

BATCH = 32


@dataclass(frozen=True, eq=False)
class Described:
    """N photos: their samples, and descriptors float32 [N, 512] of unit length."""

    samples: list[Sample]
    descriptors: NDArray[np.float32]

    @property
    def subjects(self) -> NDArray[np.int64]:
        """Return the number of each photo's person, int64 [N]."""
        return np.unique([str(s.subject) for s in self.samples], return_inverse=True)[1].astype(np.int64)

    def of(self, *splits: str) -> Described:
        """Return the photos of these splits only."""
        indices = [i for i, sample in enumerate(self.samples) if sample.split in splits]
        return Described([self.samples[i] for i in indices], self.descriptors[indices])


@torch.inference_mode()
def describe(loaded: checkpoint.Checkpoint, samples: Sequence[Sample], device: str = "cpu") -> Described:
    """Return the descriptors of the samples that have the landmarks to be aligned by.

    Read from the cache when the same weights have seen the same photos before.
    """
    marked = [s for s in samples if s.landmarks is not None and np.isfinite(s.landmarks).all()]
    path = cache_dir() / "descriptors" / f"{_key(loaded, marked)}.npy"
    if not path.is_file():
        network = checkpoint.build_network(loaded).to(device)
        size = network.config.input_size
        rows = []
        for start in tqdm(range(0, len(marked), BATCH), "describe", unit="batch", disable=None):
            group = marked[start : start + BATCH]
            points = torch.from_numpy(np.stack([s.landmarks for s in group if s.landmarks is not None])).float()
            matrices = geometry.alignment_matrices(points, size, network.config.frame)
            chips = geometry.crop([read_photo(s.path) for s in group], torch.arange(len(group)), matrices, size)
            of_chips, of_mirror_images = (
                network(views.to(device), ("descriptor",))["descriptor"].float().cpu().numpy()
                for views in (chips, chips.flip(3))
            )
            weights = mirror_weights(lengths(of_chips), mirror_lengths_of(loaded.config))
            rows.append(mean_descriptors(of_chips, of_mirror_images, weights))
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.replace(path)
    return Described(marked, np.load(path))


def celeba_people(loaded: checkpoint.Checkpoint, device: str = "cpu", limit: int | None = None) -> Described:
    """Describe all CelebA photos, or `limit` of them evenly spread. Raises FileNotFoundError without them."""
    samples = celeba.read("celeba_wild") + celeba.read("celeba_aligned_small")
    if limit is not None and limit < len(samples):
        samples = [samples[i * len(samples) // limit] for i in range(limit)]
    return describe(loaded, samples, device)


def _key(loaded: checkpoint.Checkpoint, samples: Sequence[Sample]) -> str:
    """Return a key that changes with the list of photos and with what makes the descriptor, not with other parts."""
    key = hashlib.sha256("\n".join(f"{s.source}/{s.name}" for s in samples).encode())
    key.update(str(mirror_lengths_of(loaded.config)).encode())
    for name in sorted(n for n in loaded.tensors if n.startswith(("network.stages.", "network.identity."))):
        key.update(name.encode())
        key.update(loaded.tensors[name].contiguous().numpy().tobytes())
    return key.hexdigest()[:24]
