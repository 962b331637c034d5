"""Answers about training faces by heads that never saw them: python -m model.training.cross_fit WEIGHTS --out RUN.

The people of the training faces are split into PARTS. For each part, heads as train_shared_heads makes them learn from
all others, and then say age, gender and smile of the part's faces. Labels that are wrong, or a matter of opinion, are
known by answers that differ from them: RUN/answers.npz is what a recipe's data take as `pseudo`, with `pseudo_share`
mixed into the labels that people gave (mixture.filled). A network learns less of the former by heart so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import checkpoint, shared_heads
from model.boxes import Indices
from model.datasets import Array, Sample, mixture
from model.datasets.aligned import AlignedFaces
from model.datasets.store import PhotoStore
from model.network import AllInOne
from model.shared_heads import SharedHeads
from model.tasks import TASKS
from model.training.fit import FitConfig, begin, fit, run_arguments
from model.training.train_shared_heads import (
    CHUNK,
    LABELS,
    StageOutputs,
    head_losses,
    new_heads,
    ordered_faces,
    stage_outputs,
)

PARTS = 4
LABEL_OF = {name: TASKS[name].label for name in ("age", "gender", "smile")}


def parts_by_person(samples: Sequence[Sample], count: int, seed: int) -> Indices:
    """Return the part [N], 0 to count - 1, of each face: the same for all faces of a person, random for others."""
    rng = np.random.default_rng(seed)
    people = sorted({sample.subject for sample in samples if sample.subject})
    part_of = {person: place % count for place, person in enumerate(rng.permutation(people).tolist())}
    alone = rng.integers(0, count, len(samples)).tolist()
    return np.array([part_of[s.subject] if s.subject else alone[i] for i, s in enumerate(samples)])


@torch.inference_mode()
def answers(heads: SharedHeads, network: AllInOne, faces: AlignedFaces, rows: Iterable[int]) -> dict[str, Array]:
    """Return the heads' answers [K] about the faces of these rows, by the label they are answers for."""
    each: dict[str, list[Tensor]] = {label: [] for label in LABELS}
    remaining = list(rows)
    for start in range(0, len(remaining), CHUNK):
        crops = faces.exact(remaining[start : start + CHUNK])["crops"].float()
        maps = network.trunk(crops.contiguous(memory_format=torch.channels_last), 7)
        descriptor = network.branches(maps, ("descriptor",))["descriptor"]
        for name, output in heads(maps[4], maps[5], descriptor, tuple(LABEL_OF)).items():
            each[LABEL_OF[name]].append(TASKS[name].read(output))
    return {label: torch.cat(values).numpy() for label, values in each.items()}


def main() -> None:
    """Train the heads of each part, as the arguments say, and write their answers about it."""
    parser = run_arguments(__doc__, "shared heads", FitConfig(2500, 192, 1e-3))
    parser.add_argument("weights", type=Path, help="checkpoint with the network")
    parser.add_argument("--parts", type=int, default=PARTS)
    arguments = parser.parse_args()
    config = begin(arguments)
    network = checkpoint.build_network(checkpoint.load(arguments.weights))
    all_faces, empty = mixture.photos()
    photos = PhotoStore(all_faces + empty)
    samples = [sample for sample in all_faces if sample.split == "train"]
    outputs = stage_outputs(network, samples, photos, arguments.out, arguments.seed)
    faces = ordered_faces(network, samples, photos)
    part_of = parts_by_person(faces.samples, arguments.parts, arguments.seed)
    found = {label: np.full(len(faces.samples), np.nan, np.float32) for label in LABELS}
    for part in range(arguments.parts):
        rows = np.flatnonzero(part_of == part)
        heads = _heads(network, outputs, np.flatnonzero(part_of != part), arguments.out / str(part), config)
        for label, values in answers(heads, network, faces, rows.tolist()).items():
            found[label][rows] = values
    names = np.array([f"{sample.source}/{sample.name}" for sample in faces.samples])
    np.savez_compressed(arguments.out / "answers.npz", names=names, **found)  # type: ignore[arg-type]


def _heads(network: AllInOne, outputs: StageOutputs, chosen: Indices, folder: Path, config: FitConfig) -> SharedHeads:
    """Return heads that learnt from the chosen faces alone; a run that was stopped goes on."""
    folder.mkdir(exist_ok=True)
    others = StageOutputs(outputs.stage5, outputs.stage6, outputs.descriptors, outputs.labels, chosen)
    heads = new_heads(network, outputs)
    fit(heads, shared_heads.PART, others.batch, head_losses, folder, config)
    return heads.eval()


if __name__ == "__main__":
    main()
