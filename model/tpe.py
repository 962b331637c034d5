"""Train the triplet probabilistic embedding on CelebA's people: python -m model.tpe --out FILE.

The method is in model/identity/triplets.py.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model import checkpoint
from model.identity.projection import PART, LearnedProjection
from model.identity.triplets import Config, fit, part_of, true_accepts
from model.tools.describe_faces import Described, celeba_people

HELD_OUT = 150
"""Training people whom W is not fitted to: the step is chosen on them, so that calibration's people choose nothing."""


def train(people: Described, config: Config, held_out: int = HELD_OUT) -> LearnedProjection:
    """Train on the train people, of whom `held_out` choose the step, and whether the others' mean is subtracted first.

    The descriptors of one network have a large mean that all faces share, another's have none: so both are tried. The
    validation people have no part in it: what they calibrate is measured on them for the first time. Raises ValueError
    when too few people are left.
    """
    train_people = people.of("train")
    subjects = train_people.subjects
    numbers = np.unique(subjects)
    held_out_people = np.random.default_rng(config.seed).permutation(numbers)[:held_out]
    is_held_out = np.isin(subjects, held_out_people)
    descriptors = torch.from_numpy(train_people.descriptors[~is_held_out])
    mean = descriptors.mean(dim=0)
    candidates = []
    for centre in (torch.zeros_like(mean), mean):

        def score(weight: Tensor, centre: Tensor = centre) -> float:
            projected = LearnedProjection(weight.numpy(), centre.numpy()).project(train_people.descriptors[is_held_out])
            return true_accepts(projected, subjects[is_held_out])

        weight = fit(descriptors - centre, torch.from_numpy(subjects[~is_held_out]), config, score)
        candidates.append((score(weight), LearnedProjection(weight.numpy(), centre.numpy())))
    return max(candidates, key=lambda pair: pair[0])[1]


def report(people: Described, projection: LearnedProjection) -> str:
    """Return a table of TAR at three FARs by the cosine and by the TPE, on each split."""
    lines = [f"mean taken off: {'yes' if projection.mean.any() else 'no'}"]
    for split in ("val", "test"):
        part = people.of(split)
        for name, vectors in (("cosine", part.descriptors), ("tpe", projection.project(part.descriptors))):
            rates = [f"{100 * true_accepts(vectors, part.subjects, far):6.2f}" for far in (1e-4, 1e-3, 1e-2)]
            lines.append(f"{split:5} {name:6} TAR % at FAR 1e-4, 1e-3, 1e-2: {' '.join(rates)}")
    return "\n".join(lines)


def main() -> None:
    """Run the command line: train the projection, report on it and save it."""
    parser = argparse.ArgumentParser(
        description="Trains the triplet embedding on CelebA's train people; some of them choose the step."
    )
    parser.add_argument("--weights", type=Path, default=checkpoint.SHIPPED, help="checkpoint of the network")
    parser.add_argument("--out", type=Path, required=True, help="where the part goes; join with model.checkpoint")
    parser.add_argument("--device", default="cpu")
    for name, kind in (("steps", int), ("batch", int), ("rate", float), ("scale", float), ("seed", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Config, name))
    arguments = parser.parse_args()
    config = Config(
        steps=arguments.steps, batch=arguments.batch, rate=arguments.rate, scale=arguments.scale, seed=arguments.seed
    )
    people = celeba_people(checkpoint.load(arguments.weights), arguments.device)
    projection = train(people, config)
    checkpoint.save(arguments.out, {PART: part_of(projection)}, {PART: asdict(config)})
    sys.stdout.write(report(people, projection) + "\n")


if __name__ == "__main__":
    main()
