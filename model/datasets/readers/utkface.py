"""UTKFace (Zhang et al. 2017): aligned faces, age, gender and race in the file name. Research, non-commercial."""

from __future__ import annotations

from pathlib import Path

from model.datasets import Sample, Split, data_dir, held_out, with_machine_labels

TERMS = "research, non-commercial"
RACES = ("white", "black", "asian", "indian", "other")


def read(root: Path | None = None) -> list[Sample]:
    """Return samples with age, gender and the race label as group; 5 % of train/ are the validation part."""
    root = root or data_dir("utkface")
    samples = []
    for path in sorted(root.glob("*/*.webp")):
        name = path.relative_to(root).as_posix()
        age, gender, race = path.name.split("_")[:3]
        split: Split = "test" if path.parent.name == "test" else "val" if held_out(name, 0.05) else "train"
        samples.append(
            Sample("utkface", name, path, split, age=float(age), female=float(gender), group=RACES[int(race)])
        )
    return with_machine_labels(samples, "utkface")
