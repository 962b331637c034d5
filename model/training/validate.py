"""Validation during training: every task's figure on fixed photos of the training sets' held-out parts, one score."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model import tasks
from model.datasets.loaders import Batch
from model.network import AllInOne


def validate(
    network: AllInOne,
    batches: Mapping[str, Sequence[Batch]],
    device: str,
    precision: str,
    only: Collection[str] = (),
) -> dict[str, float]:
    """Figures by name: MAE in years and degrees, NME and accuracies as shares, TAR at FAR 1e-3 between subjects.

    Of the tasks of `only`, or of all when it is empty; batches without a label of theirs are passed over.
    """
    figures: dict[str, float] = {}
    wanted = set(only) or None
    for name, part in batches.items():
        if only and not any(tasks.TASKS[task].label in part[0] for task in only):
            continue
        outputs, labels = _run(network, part, device, precision, wanted)
        figures |= {f"{name}_{key}": value for key, value in _figures(outputs, labels).items()}
    return figures


def score(figures: Mapping[str, float]) -> float:
    """One number that weighs all tasks: mean distance of the figures from their aims, 0 at the aim, -1 at the floor."""
    aims = {  # figure: (aim, floor)
        "utkface_age_mae": (3.9, 5.0),
        "utkface_female_accuracy": (0.97, 0.925),
        "celeba_female_accuracy": (0.993, 0.97),
        "celeba_smile_accuracy": (0.935, 0.88),
        "celeba_tar": (0.9, 0.8),
        "helen_nme": (0.029, 0.045),
        "turned_nme": (0.035, 0.055),
        "regions_pose_mae": (3.5, 5.0),
        "regions_detection_accuracy": (1.0, 0.98),
        "regions_visibility_accuracy": (1.0, 0.9),
        # of the paper's sub-networks on archives
        "regions_nme": (0.029, 0.045),
        "age_age_mae": (3.9, 5.0),
        "gender_female_accuracy": (0.97, 0.925),
        "smile_smile_accuracy": (0.935, 0.88),
        "identity_tar": (0.9, 0.8),
    }
    parts = [
        (figures[n] - aim) / abs(floor - aim) * (1 if aim > floor else -1)
        for n, (aim, floor) in aims.items()
        if np.isfinite(figures.get(n, np.nan))
    ]
    return float(np.mean(parts))


def _run(
    network: AllInOne, batches: Sequence[Batch], device: str, precision: str, wanted: Collection[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    outputs = defaultdict(list)
    labels = defaultdict(list)
    for batch in batches:
        crops = batch["crops"].to(device).float().contiguous(memory_format=torch.channels_last)
        kind = torch.device(device).type
        with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
            raw = network(crops, wanted)
        for name, value in raw.items():
            read = tasks.TASKS[name].read if name in tasks.TASKS else torch.Tensor.float
            outputs[name].append(read(value).cpu())
        for name, value in batch.items():
            if name != "crops":
                labels[name].append(value)
    return {k: torch.cat(v) for k, v in outputs.items()}, {k: torch.cat(v) for k, v in labels.items()}


def _figures(outputs: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, float]:
    figures: dict[str, float] = {}
    for label, output in (("female", "gender"), ("smile", "smile"), ("detection", "detection")):
        labelled = ~labels.get(label, torch.full((1,), torch.nan)).isnan()
        if labelled.any() and output in outputs:
            right = (outputs[output][labelled] > 0.5) == (labels[label][labelled] > 0.5)
            figures[f"{label}_accuracy"] = right.float().mean().item()
    if "age" in outputs and not labels.get("age", torch.full((1,), torch.nan)).isnan().all():
        figures["age_mae"] = (outputs["age"] - labels["age"]).abs().nanmean().item()
    if "landmarks" in labels and "landmarks" in outputs:
        error = (outputs["landmarks"] - labels["landmarks"]).norm(dim=2)
        figures["nme"] = error.nanmean().item()
    if "pose" in labels and "pose" in outputs:
        turn = (outputs["pose"] - torch.rad2deg(labels["pose"]) + 180) % 360 - 180
        figures["pose_mae"] = turn.abs().nanmean().item()
    if "visibility" in labels and "visibility" in outputs:
        labelled = ~labels["visibility"].isnan()
        right = (outputs["visibility"][labelled] > 0.5) == (labels["visibility"][labelled] > 0.5)
        figures["visibility_accuracy"] = right.float().mean().item()
    if "subject" in labels and "descriptor" in outputs:
        figures |= _verification(outputs["descriptor"], labels)
    return figures


def _verification(descriptors: Tensor, labels: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the true accept rate `tar` at a false accept rate of 1e-3, by the labels' `person`; {} without pairs."""
    person = labels.get("person")
    if person is None:
        return {}
    unit = F.normalize(descriptors)
    similarity = unit @ unit.T
    pairs = torch.triu_indices(len(unit), len(unit), 1)
    same = person[pairs[0]] == person[pairs[1]]
    scores = similarity[pairs[0], pairs[1]]
    if not same.any() or same.all():
        return {}
    threshold = scores[~same][: 2**24 - 1].quantile(0.999)
    return {"tar": (scores[same] > threshold).float().mean().item()}


def plot_curve(csv_path: Path, png_path: Path) -> None:
    """The curve's figures over the steps, a panel each."""
    import matplotlib as mpl  # noqa: PLC0415 - an extra that validation alone does without

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    with csv_path.open() as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "step"]
    columns = 4
    figure, axes = plt.subplots(-(-len(names) // columns), columns, figsize=(14, 2.4 * -(-len(names) // columns)))
    for axis, name in zip(np.ravel(axes), names, strict=False):
        points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
        axis.plot([x for x, _ in points], [y for _, y in points])
        axis.set_title(name, fontsize=8)
    figure.tight_layout()
    figure.savefig(png_path, dpi=80)
    plt.close(figure)
