"""Train a recipe: python -m model.train model/training/recipes/residual.json --out RUN.

The loop is model/training/loop.py. A run resumes from RUN/state.pt by itself; the best weights so far are
RUN/best.safetensors, the curve RUN/curve.csv. On several GPUs: torchrun --nproc-per-node N -m model.train …
--device cuda. Recipes that name archives want --data DIR.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
from torch import distributed

from model.training.loop import Run, build, train
from model.training.recipe import load_data, read_recipe


def main() -> None:
    """Read the command line and train to the recipe's end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumed where it holds a state")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="CPU threads")
    parser.add_argument("--data", type=Path, help="folder of the archives, DIR/<set>/, for recipes that name some")
    parser.add_argument("--fold", type=int, help="FDDB's fold to leave out")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = _join(arguments.device)
    recipe = read_recipe(arguments.recipe)
    arguments.out.mkdir(parents=True, exist_ok=True)
    data = load_data(recipe, arguments.data, arguments.fold)
    run = Run(recipe, build(recipe, data.subjects), device)
    if (arguments.out / "state.pt").is_file():
        run.restore(torch.load(arguments.out / "state.pt", map_location=device, weights_only=True))
        print(f"resumed at step {run.step}")
    train(run, data.mixture, data.validation, arguments.out)
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _join(device: str) -> str:
    """Join the processes that torchrun started, if it did; return this process's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return device
    if device.startswith("cuda"):
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return device


if __name__ == "__main__":
    main()
