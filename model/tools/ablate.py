"""Measure what the tasks give each other: python -m model.tools.ablate RECIPE --steps 1000 --out DIR.

The paper's claim (section IV) that tasks learnt together help each other, put to the test: each task alone against all
of them, with and without identity pre-training, `paper` against `residual`. A task alone sees as many crops of the sets
that label it as it does in the joint run. Figures are validation's; runs resume, and finished ones are only read.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from model import tasks
from model.datasets import mixture
from model.training.loop import Run, build, train
from model.training.recipe import Recipe, load_data, read_recipe

_LOCAL = ("regions",)
ALONE: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "detection": (("detection",), _LOCAL),
    "landmarks": (("landmarks",), _LOCAL),
    "pose": (("pose",), _LOCAL),
    "smile": (("smile",), ("celeba", "mtfl")),
    "gender": (("gender",), ("utkface", "celeba", "mtfl")),
    "age": (("age",), ("utkface",)),
    "identity": (("identity", "embedding"), ("utkface", "celeba", "mtfl")),
}
"""Run → the tasks that learn and the sources that label them."""
FIGURES = {
    "detection": "regions_detection_accuracy",
    "landmarks": "helen_nme",
    "pose": "helen_pose_mae",
    "smile": "celeba_smile_accuracy",
    "gender": "utkface_female_accuracy",
    "age": "utkface_age_mae",
    "identity": "celeba_tar",
}
"""Task → the validation figure that judges it."""


def variants(base: Recipe, steps: int) -> dict[str, Recipe]:
    """Name → recipe of every run, from one joint recipe of the residual preset that starts from the teacher."""
    joint = replace(base, steps=steps, decay=steps // 2, age_switch=0, validate_every=steps)
    scratch = replace(joint, start=None, shared_lr=joint.lr)
    runs = {
        "all": joint,
        "all, no identity pre-training": scratch,
        "all, paper preset": replace(scratch, preset="paper"),
    }
    return runs | {f"{name} alone": _alone(joint, *parts) for name, parts in ALONE.items()}


def _alone(joint: Recipe, learning: tuple[str, ...], sources: tuple[str, ...]) -> Recipe:
    shares = joint.data["shares"]
    remaining = {name: shares[name] for name in sources}
    steps = round(joint.steps * sum(remaining.values()) / sum(shares.values()))
    weights = {
        name: joint.weights.get(name, tasks.TASKS[name].weight) if name in learning else 0.0 for name in tasks.TASKS
    }
    data = joint.data | {"shares": remaining}
    return replace(joint, steps=steps, decay=steps // 2, validate_every=steps, weights=weights, data=data)


def figures(recipe: Recipe, out: Path) -> dict[str, float]:
    """Train to the recipe's end, where that is not done yet; return the figures of its last validation."""
    curve = out / "curve.csv"
    if not (curve.is_file() and _last(curve)["step"] == recipe.steps):
        out.mkdir(parents=True, exist_ok=True)
        data = load_data(recipe)
        run = Run(recipe, build(recipe, data.subjects))
        if (out / "state.pt").is_file():
            run.restore(torch.load(out / "state.pt", weights_only=True))
        train(run, data.mixture, data.validation, out)
    return _last(curve)


def _last(curve: Path) -> dict[str, float]:
    with curve.open() as file:
        row = list(csv.DictReader(file))[-1]
    return {name: float(value) for name, value in row.items() if value}


def table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return a Markdown table: a row for each run, a column for each task; a dash for a task that was not learnt."""
    lines = ["| run | " + " | ".join(FIGURES) + " |", "| --- |" + " ---: |" * len(FIGURES)]
    for name, result in results.items():
        alone = name.removesuffix(" alone")
        learnt = {task: result[figure] for task, figure in FIGURES.items() if alone not in ALONE or task == alone}
        lines.append(f"| {name} | " + " | ".join(f"{learnt[t]:.4g}" if t in learnt else "–" for t in FIGURES) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train or read every run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a joint recipe of the residual preset")
    parser.add_argument("--steps", type=int, default=1000, help="of the joint runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = read_recipe(arguments.recipe)
    if "sets" in base.data or not set(mixture.LOADERS) <= set(base.data["shares"]):
        parser.error(f"the recipe must give shares to {', '.join(mixture.LOADERS)}")
    results = {}
    for name, recipe in variants(base, arguments.steps).items():
        results[name] = figures(recipe, arguments.out / name.replace(", ", "-").replace(" ", "-"))
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
