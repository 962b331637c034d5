"""Calibrate a checkpoint's scores on people it was not trained on: python -m model.tools.calibrate.

Without --photos it takes CelebA's validation people (train side, held out of all training; the triplet embedding's step
was not chosen on them, the network's own was) and checks the result on the test people; with --photos DIR a customer's
own, DIR/PERSON/PHOTO, the largest face of each. With --out also the ranges that go with estimated ages, fitted to
UTKFace's validation part: join the file to the checkpoint by model.checkpoint.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model import checkpoint
from model.datasets.readers import utkface
from model.datasets.store import read_photo
from model.evaluate.age_ranges import estimates
from model.evaluate.run import Run
from model.identity import comparison as identity
from model.identity.age_range import CONFIG_KEY, AgeRanges, fit_age_ranges
from model.identity.calibration import Calibration, all_pairs, calibrate
from model.runtime.engines import ENGINES
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.tools.describe_faces import celeba_people

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
BATCH = 16

Vectors = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Folder:
    """Descriptors [N, 512] and person numbers [N] of people's photos; which photos show no face, which are none."""

    descriptors: Vectors
    subjects: NDArray[np.int64]
    faceless: list[Path]
    broken: list[Path]


def photos_of_people(folder: Path) -> list[tuple[int, Path]]:
    """Return each folder/PERSON/PHOTO with the number of its person. Raises FileNotFoundError when there is none."""
    people = [d for d in sorted(folder.iterdir()) if d.is_dir()] if folder.is_dir() else []
    photos = [(n, p) for n, d in enumerate(people) for p in sorted(d.iterdir()) if p.suffix.lower() in PHOTOS]
    if not photos:
        raise FileNotFoundError(f"no photos in {folder}: they lie in one folder for each person")
    return photos


def describe_people(analyzer: Analyzer, photos: Sequence[tuple[int, Path]]) -> Folder:
    """Describe the largest face of each photo; one that cannot be read, or shows nobody, is put aside.

    Raises ValueError when there is no face.
    """
    rows: list[Vectors] = []
    numbers: list[int] = []
    faceless = []
    broken = []
    for start in tqdm(range(0, len(photos), BATCH), "describe", unit="batch", disable=None):
        group = []
        for number, path in photos[start : start + BATCH]:
            try:
                group.append((number, path, read_photo(path)))
            except (OSError, ValueError):
                broken.append(path)
        for (number, path, _), faces in zip(group, analyzer.analyze([p for _, _, p in group]), strict=True):
            if len(faces):
                rows.append(faces.descriptor[0])
                numbers.append(number)
            else:
                faceless.append(path)
    if not rows:
        raise ValueError(f"no face in any of {len(photos)} photos")
    return Folder(np.array(rows, np.float32), np.array(numbers, np.int64), faceless, broken)


def summary(calibration: Calibration, checked: tuple[Vectors, NDArray[np.int64]] | None = None) -> str:
    """Return a table of the thresholds as text and, given vectors of other people, what they measure there."""
    lines = [
        f"{calibration.score}: {calibration.people} people, {calibration.photos} photos, "
        f"{calibration.impostor_pairs:,} impostor pairs"
    ]
    pairs = all_pairs(*checked, keep=1.0) if checked else None
    for threshold in calibration.thresholds:
        t = threshold
        line = f"FAR {t.far:7g}: {t.value:.4f} [{t.low:.4f}, {t.high:.4f}], TAR {100 * t.tar:.1f} %"
        if pairs is not None:
            far = (pairs.impostor >= t.value).mean()
            tar = (pairs.genuine >= t.value).mean()
            line += f"; on {len(pairs.photos)} other people FAR {far:.2g}, TAR {100 * tar:.1f} %"
        lines.append(line)
    sizes = (1, 100, 10_000, 1_000_000)
    lines.append("1:N " + ", ".join(f"{n:,}: {calibration.identification_threshold(n):.3f}" for n in sizes))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1, with a line on standard error, when data or weights are missing."""
    parser = argparse.ArgumentParser(prog="python -m model.tools.calibrate", description=__doc__)
    parser.add_argument("--weights", type=Path, default=checkpoint.SHIPPED)
    parser.add_argument("--photos", type=Path, metavar="DIR", help="own photos, DIR/PERSON/PHOTO")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the calibration as JSON, for FACE_CALIBRATION")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it as a part, to be joined by model.checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--engine", default="auto", choices=list(ENGINES), help="for --photos (default: as the service)"
    )
    arguments = parser.parse_args(argv)
    try:
        _calibrate(arguments)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _calibrate(arguments: argparse.Namespace) -> None:
    loaded = checkpoint.load(arguments.weights)
    compared = identity.of(dataclasses.replace(loaded, config={}))
    checked = None
    if arguments.photos:
        photos = photos_of_people(arguments.photos)
        described = describe_people(
            Analyzer(AnalyzerConfig(arguments.weights, arguments.device, engine=arguments.engine)), photos
        )
        for problem, paths in (("no face", described.faceless), ("cannot be read", described.broken)):
            for path in paths:
                sys.stderr.write(f"{problem}: {path}\n")
        descriptors = described.descriptors
        subjects = described.subjects
    else:
        people = celeba_people(loaded, arguments.device)
        val = people.of("val")
        test = people.of("test")
        descriptors = val.descriptors
        subjects = val.subjects
        checked = compared.vectors(test.descriptors), test.subjects
    calibration = calibrate(compared.vectors(descriptors), subjects, compared.score)
    sys.stdout.write(summary(calibration, checked) + "\n")
    if arguments.json:
        identity.write_calibration(arguments.json, loaded.digest, calibration)
    if arguments.out:
        config = {"calibration": calibration.as_dict()}
        if not arguments.photos:
            config[CONFIG_KEY] = _fit_age_ranges(arguments.weights, arguments.device).as_dict()
        checkpoint.save(arguments.out, {}, config)


def _fit_age_ranges(weights: Path, device: str) -> AgeRanges:
    """Fit them to UTKFace's validation part by the whole pipeline. Raises FileNotFoundError without it."""
    run = Run(Analyzer(AnalyzerConfig(weights, device)))
    samples = [sample for sample in utkface.read(run.root("utkface")) if sample.split == "val"]
    ranges = fit_age_ranges(*estimates(run.analyze(samples, "ages")))
    text = ", ".join("{:.0f}: {:.0f}–{:.0f}".format(age, *ranges.range(age)) for age in range(5, 90, 10))
    sys.stdout.write(f"age ranges from {ranges.faces} faces, years: {text}\n")
    return ranges


if __name__ == "__main__":
    sys.exit(main())
