"""Join branches trained apart on one frozen trunk: python -m model.tools.graft LOCAL --deep DEEP --out JOINED.

The result is LOCAL with the deep branches (age, gender, smile and the stages of their own) of DEEP.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model import checkpoint

DEEP = ("deep_stages.", "deep_heads.")
"""How the names of the deep branches' tensors begin."""


def graft(local: checkpoint.Checkpoint, deep: checkpoint.Checkpoint) -> dict[str, Tensor]:
    """Return the network of `local` with the deep branches of `deep`.

    Raises ValueError where the two differ in their configuration or in what neither run trained: trunk and identity.
    """
    if _shape(local) != _shape(deep):
        raise ValueError("the two checkpoints hold networks of different shapes")
    base = local.part("network")
    other = deep.part("network")
    changed = [name for name in base if name.startswith(("stages.", "identity.")) and not _equal(base, other, name)]
    if changed:
        raise ValueError(f"the two networks have not the same trunk: {', '.join(sorted(changed)[:3])} differ")
    return {name: other[name] if name.startswith(DEEP) else tensor for name, tensor in base.items()}


def _shape(loaded: checkpoint.Checkpoint) -> dict[str, Any]:
    """Return the network's configuration, without what matters in training alone."""
    return {name: value for name, value in loaded.config.get("network", {}).items() if name != "dropout"}


def _equal(first: dict[str, Tensor], second: dict[str, Tensor], name: str) -> bool:
    return name in second and torch.equal(first[name], second[name])


def main() -> int:
    """Run the command line; return 1 when the checkpoints do not go together."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("local", type=Path, help="checkpoint with the local branch to keep")
    parser.add_argument("--deep", type=Path, required=True, help="checkpoint with the deep branches to take")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    local = checkpoint.load(arguments.local)
    deep = checkpoint.load(arguments.deep)
    try:
        network = graft(local, deep)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    steps = {"local": local.config, "deep": deep.config}
    runs = {name: {key: config.get(key) for key in ("recipe", "step", "validation")} for name, config in steps.items()}
    description = {name: local.config.get(name) for name in ("network", "preset")}
    checkpoint.save(arguments.out, {"network": network}, {**description, "runs": runs})
    sys.stdout.write(f"{arguments.out}: {checkpoint.load(arguments.out).digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
