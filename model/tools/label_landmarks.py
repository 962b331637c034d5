"""Label landmarks of archives without any: python -m model.tools.label_landmarks SET… --data DIR.

The paper takes HyperFace's landmarks there.

Each photo of DIR/<set> goes through the Analyzer; of its faces the one that overlaps the set's box most is taken, or
without a box the large and central one. Writes DIR/<set>/marks.npz, which the set's reader fills its samples from.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.checkpoint import CheckpointError
from model.datasets import Sample
from model.datasets.archives import READERS
from model.datasets.machine_landmarks import COLUMNS, write_machine_landmarks
from model.datasets.readers import fgnet
from model.evaluate import metrics
from model.evaluate.run import FOUND_IOU, Analyzed, Run
from model.runtime.pipeline import Analyzer, AnalyzerConfig

CHUNK = 2000
"""Samples at a time: what is found in their photos is held until the next."""


def label(run: Run, samples: Sequence[Sample], root: Path) -> tuple[int, int]:
    """Write the machine landmarks of every sample whose face is found; return how many were, and how many samples."""
    names: list[str] = []
    rows: dict[str, list[np.ndarray]] = {key: [] for key in COLUMNS}
    for start in range(0, len(samples), CHUNK):
        chunk = Run(run.analyzer, run.data)
        for analyzed in chunk.analyze(samples[start : start + CHUNK], f"{root.name} {start}"):
            index = face_of(analyzed)
            if index is not None:
                names.append(analyzed.sample.name)
                faces = analyzed.faces
                columns = (faces.landmarks, faces.visibility, faces.pose, faces.boxes)
                for key, values in zip(COLUMNS, columns, strict=True):
                    rows[key].append(values[index])
    if names:
        stacked = {key: np.stack(values) for key, values in rows.items()}
        write_machine_landmarks(root, names, stacked, run.analyzer.digest)
    return len(names), len(samples)


def face_of(analyzed: Analyzed) -> int | None:
    """Return the index of the face that the sample is of; None where none is found."""
    if analyzed.sample.box is None:
        return analyzed.main_face()
    overlap = metrics.iou(analyzed.faces.boxes, np.asarray(analyzed.sample.box, np.float64)[None])[:, 0]
    return int(overlap.argmax()) if len(overlap) and overlap.max() >= FOUND_IOU else None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 1, with a line on standard error, when data or weights are missing."""
    readers = READERS | {"fgnet": fgnet.read}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=sorted(readers), metavar="SET", help=", ".join(sorted(readers)))
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the archives, DIR/<set>/")
    parser.add_argument("--weights", type=Path, help="checkpoint (default: the shipped one)")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args(argv)
    try:
        run = Run(Analyzer(AnalyzerConfig(arguments.weights, arguments.device)), arguments.data)
        for name in arguments.sets:
            root = run.root(name)
            labelled, total = label(run, readers[name](root), root)
            sys.stdout.write(f"{root}: faces found for {labelled} of {total} samples\n")
    except (FileNotFoundError, CheckpointError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
