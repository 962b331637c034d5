"""Photos without a face: scenes, objects, drawn emoji, and whatever wallpapers lie in the cache."""

from __future__ import annotations

from pathlib import Path

from model.datasets import Sample, Split, cache_dir, data_dir, held_out

WALLPAPERS = "wallpapers"
"""Folder of the cache for photos without faces of one's own, large ones above all; used where it is there."""
EMOJI = "emoji"
"""The set that model.tools.draw_emoji makes; used where it is there."""


def read(name: str, root: Path | None = None) -> list[Sample]:
    """Return samples of `negatives`, `negatives_objects`, `emoji` (a tenth for validation) or `wallpapers` (train)."""
    if name == WALLPAPERS:
        root = root or cache_dir() / WALLPAPERS
        paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
        return [Sample(name, p.relative_to(root).as_posix(), p, "train", faces=0) for p in paths]
    root = root or (cache_dir() / "data" / EMOJI if name == EMOJI else data_dir(name))
    samples = []
    for path in sorted(root.glob("*/*.webp")):
        member = path.relative_to(root).as_posix()
        split: Split = "test" if path.parent.name == "test" else "val" if held_out(member, 0.1) else "train"
        samples.append(Sample(name, member, path, split, faces=0))
    return samples
