"""Measure what the tasks give each other: python -m model.tools.ablate RECIPE --steps 2000 --seeds 0 1 --out DIR.

The paper's claim (section IV) that tasks learnt together help each other, put to the test: each task alone against all
of them, with and without identity pre-training, and the presets against each other for as many photos. A task alone
sees as many crops of the sets that label it as it does in the joint run. Figures are validation's, the mean of the
seeds; runs resume, and finished ones are only read, so that several processes can each train another seed.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
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
    runs = {"all": joint, "all, no identity pre-training": scratch}
    runs |= {f"{name} alone": _alone(joint, *parts) for name, parts in ALONE.items()}
    return runs | {
        "all, mobile preset": replace(joint, preset="mobile"),
        "all, hyperface preset": replace(scratch, preset="hyperface"),
        "all, paper preset": replace(scratch, preset="paper"),
    }


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


def table(results: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Return a Markdown table of the figures of each run's seeds: a row for each run, a column for each task.

    A cell is the seeds' mean, and half of the distance between the smallest and the largest where there are several; a
    dash stands for a task that was not learnt.
    """
    lines = ["| run | " + " | ".join(FIGURES) + " |", "| --- |" + " ---: |" * len(FIGURES)]
    for name, seeds in results.items():
        alone = name.removesuffix(" alone")
        learnt = [task for task in FIGURES if alone not in ALONE or task == alone]
        cells = [
            _cell([seed[FIGURES[task]] for seed in seeds if task in learnt and FIGURES[task] in seed])
            for task in FIGURES
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(figures_of_seeds: Sequence[float]) -> str:
    if not figures_of_seeds:
        return "–"
    mean = f"{np.mean(figures_of_seeds):.4g}"
    return mean if len(figures_of_seeds) == 1 else f"{mean} ± {np.ptp(figures_of_seeds) / 2:.2g}"


def main() -> None:
    """Train or read every run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a joint recipe of the residual preset")
    parser.add_argument("--steps", type=int, default=2000, help="of the joint runs")
    parser.add_argument("--batch", type=int, help="crops a step (default: the recipe's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="each run is trained once with each of them")
    parser.add_argument("--runs", nargs="+", metavar="NAME", help="rows of the table, by name (default: all)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--threads", type=int, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    base = read_recipe(arguments.recipe)
    if "sets" in base.data or not set(mixture.LOADERS) <= set(base.data["shares"]):
        parser.error(f"the recipe must give shares to {', '.join(mixture.LOADERS)}")
    if arguments.batch:
        base = replace(base, data=base.data | {"batch_size": arguments.batch})
    runs = variants(base, arguments.steps)
    if unknown := set(arguments.runs or ()) - set(runs):
        parser.error(f"no such runs: {', '.join(sorted(unknown))}; there are {', '.join(runs)}")
    results = dict[str, list[dict[str, float]]]()
    for name in arguments.runs or runs:
        recipe = runs[name]
        folder = name.replace(", ", "-").replace(" ", "-")
        results[name] = [
            figures(replace(recipe, seed=seed), arguments.out / f"seed-{seed}" / folder) for seed in arguments.seeds
        ]
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
