"""CelebA (Liu et al. 2015), in the wild and small aligned copies: gender, smile, identity. Research, non-commercial."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Literal

from model.datasets import Sample, Split, data_dir, held_out, with_machine_labels

TERMS = "research, non-commercial"


def read(name: Literal["celeba_wild", "celeba_aligned_small"], root: Path | None = None) -> list[Sample]:
    """Samples with gender, smile and subject; a tenth of the training people are the validation part.

    Which people those are does not depend on the set, so that nobody is in train and validation both.
    """
    root = root or data_dir(name)
    samples = []
    with (root / "labels.csv").open() as file:
        for row in csv.DictReader(file):
            member = f"{row['partition']}/{row['image']}"
            held = held_out(f"celeba {row['identity']}", 0.1)
            split: Split = "test" if row["partition"] == "test" else "val" if held else "train"
            samples.append(
                Sample(
                    name,
                    member,
                    root / member,
                    split,
                    female=1 - float(row["Male"]),
                    smile=float(row["Smiling"]),
                    subject=row["identity"],
                )
            )
    return with_machine_labels(samples, name)
