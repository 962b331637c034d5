"""The checkpoint's file, read without PyTorch: safetensors with the configuration in its header.

A process whose engine is OpenVINO and already converted needs nothing else of it; model.checkpoint writes it and
builds networks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

FORMAT = "allinone-face/1"
SHIPPED = Path(__file__).parent / "weights" / "allinone-face.safetensors"


SHIPPED_TERMS = {"license": "LicenseRef-allinone-face-weights", "use": "research and non-commercial"}
"""Licence (LICENSE-WEIGHTS) and permitted use of the weights that ship."""


class CheckpointError(ValueError):
    """The file is no checkpoint of this project, or its weights do not fit its configuration."""


@dataclass(frozen=True)
class CheckpointFile:
    """The configuration in a checkpoint's header, the names and shapes of its tensors, and the digest of its bytes."""

    path: Path
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]
    digest: str

    @cached_property
    def network(self) -> Mapping[str, Any]:
        """Return the configuration of the network: see model.presets.NetworkConfig."""
        network = self.config.get("network")
        if not isinstance(network, dict):
            raise CheckpointError(f"{self.path.name}: the configuration names no network")
        return network

    def holds(self, part: str) -> bool:
        """Return whether there are tensors of that part ('network', 'proposals', 'tpe')."""
        return any(name.startswith(f"{part}.") for name in self.shapes)

    def parameters(self, part: str) -> int:
        """Return the number of weights of a part."""
        return sum(prod(shape) for name, shape in self.shapes.items() if name.startswith(f"{part}."))

    def part(self, part: str) -> dict[str, NDArray[np.float32]]:
        """Return the float32 arrays of one part, without its prefix. Raises CheckpointError when there are none."""
        if not self.holds(part):
            raise CheckpointError(f"the checkpoint holds no {part}")
        names = [name for name in self.shapes if name.startswith(f"{part}.")]
        with safe_open(self.path, framework="np") as file:
            return {name.removeprefix(f"{part}."): file.get_tensor(name).astype(np.float32) for name in names}


def terms_of_use(file: CheckpointFile) -> dict[str, str | None]:
    """Return `license` and `use` of a checkpoint's weights: those in its configuration, else those of what ships.

    None where they are not known: weights that somebody trained are theirs.
    """
    shipped = SHIPPED.is_file() and file.path.samefile(SHIPPED)
    own = SHIPPED_TERMS if shipped else {}
    return {name: file.config.get(name, own.get(name)) for name in ("license", "use")}


def read_checkpoint_file(path: Path = SHIPPED) -> CheckpointFile:
    """Read a checkpoint's header and digest. Raises FileNotFoundError, or CheckpointError for what is no checkpoint."""
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a safetensors file") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path.name} is no {FORMAT} checkpoint")
    try:
        config = json.loads(metadata["config"])
    except (KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{path.name} has no readable configuration") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path.name}: the configuration is no JSON object")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return CheckpointFile(path, config, shapes, digest)
