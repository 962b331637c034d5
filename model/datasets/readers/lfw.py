"""LFW (Huang et al. 2007): the photos and official pairs of its verification protocol. Research; evaluation only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.datasets import Sample

TERMS = "research"


@dataclass(frozen=True, eq=False)
class Pair:
    """Two photos of one person (genuine) or of two, and the pair's fold 0 … 9."""

    first: Sample
    second: Sample
    genuine: bool
    fold: int


def read_pairs(root: Path) -> list[Pair]:
    """Return the pairs of root/pairs.txt, with photos NAME_0001.* in root or in its folder NAME, as in LFW's archive.

    Raises FileNotFoundError for a missing pairs.txt or photo, ValueError for a line that is no pair.
    """
    lines = (root / "pairs.txt").read_text().splitlines()
    folds, size = (int(number) for number in lines[0].split())
    rows = [line.split("\t") for line in lines[1:] if line.strip()]
    if len(rows) != 2 * folds * size:
        raise ValueError(f"pairs.txt announces {folds} folds of 2 × {size} pairs and holds {len(rows)}")
    paths = {path.stem: path for path in sorted(root.rglob("*_[0-9][0-9][0-9][0-9].*"))}
    samples: dict[str, Sample] = {}
    pairs = []
    for index, row in enumerate(rows):
        if len(row) == 3:
            members = ((row[0], row[1]), (row[0], row[2]))
        elif len(row) == 4:
            members = ((row[0], row[1]), (row[2], row[3]))
        else:
            raise ValueError(f"pairs.txt, line {index + 2}: no pair")
        first, second = (_sample(root, name, int(number), paths, samples) for name, number in members)
        pairs.append(Pair(first, second, len(row) == 3, index // (2 * size)))
    return pairs


def _sample(root: Path, subject: str, number: int, paths: dict[str, Path], samples: dict[str, Sample]) -> Sample:
    stem = f"{subject}_{number:04d}"
    if stem not in paths:
        raise FileNotFoundError(f"pairs.txt names {stem}, which {root} does not hold")
    if stem not in samples:
        samples[stem] = Sample("lfw", stem, paths[stem], "test", subject=subject)
    return samples[stem]
