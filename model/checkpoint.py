"""One safetensors file: weights in half precision, the configuration in its header, a digest over its bytes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as packed
from torch import Tensor

from model import chip_geometry, shared_heads
from model.checkpoint_file import FORMAT, SHIPPED, CheckpointError, read_checkpoint_file
from model.network import AllInOne
from model.presets import NetworkConfig

__all__ = [
    "FORMAT",
    "SHIPPED",
    "Checkpoint",
    "CheckpointError",
    "build_network",
    "inference_state",
    "load",
    "network_config",
    "save",
]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds: tensors by part ('network', 'proposals', …), metadata, digest."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    digest: str

    def holds(self, part: str) -> bool:
        """Return whether there are tensors of that part."""
        return any(name.startswith(f"{part}.") for name in self.tensors)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the float32 tensors of one part, names without its prefix. Raises CheckpointError without any."""
        tensors = {
            k.removeprefix(f"{prefix}."): v.float() for k, v in self.tensors.items() if k.startswith(f"{prefix}.")
        }
        if not tensors:
            raise CheckpointError(f"the checkpoint holds no {prefix}")
        return tensors


def save(path: Path, parts: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]) -> None:
    """Write the parts as float16 under 'part.name', with the JSON configuration in the header.

    Equal input gives equal bytes, and so an equal digest.
    """
    tensors = {
        f"{part}.{name}": tensor.detach().half().contiguous()
        for part, state in parts.items()
        for name, tensor in state.items()
    }
    temporary = path.with_suffix(".partial")
    metadata = {"format": FORMAT, "config": json.dumps(config, sort_keys=True)}
    temporary.write_bytes(_ordered(packed(tensors, metadata)))
    temporary.replace(path)


def _ordered(data: bytes) -> bytes:
    """Return a safetensors file with its metadata in order, which the library leaves to chance: digests name files."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]


def load(path: Path = SHIPPED) -> Checkpoint:
    """Read a checkpoint. Raises FileNotFoundError, or CheckpointError for what is no checkpoint of ours."""
    file = read_checkpoint_file(path)
    with safe_open(path, framework="pt") as tensors:
        return Checkpoint({name: tensors.get_tensor(name) for name in file.shapes}, file.config, file.digest)


def network_config(network: AllInOne) -> dict[str, Any]:
    """Return the network's configuration for the header, without fc8."""
    return dataclasses.asdict(dataclasses.replace(network.config, subjects=0))


def inference_state(network: AllInOne) -> dict[str, Tensor]:
    """Return the weights of a checkpoint's part 'network': all but fc8 and the heads on chips, parts of their own."""
    left_out = ("identity.fc8.", f"{shared_heads.PART}.", f"{chip_geometry.PART}.")
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(left_out)}


def build_network(checkpoint: Checkpoint) -> AllInOne:
    """Return a checkpoint's network in eval mode. Raises CheckpointError when weights and configuration disagree."""
    weights = checkpoint.part("network")
    config = checkpoint.config.get("network", {})
    try:
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
        }
        with torch.device("meta"):
            network = AllInOne(NetworkConfig(**fields))
        network.load_state_dict(weights, assign=True)
        if checkpoint.holds(shared_heads.PART):
            network.shared_heads = shared_heads.SharedHeads.of_weights(checkpoint.part(shared_heads.PART))
        if checkpoint.holds(chip_geometry.PART):
            weights = checkpoint.part(chip_geometry.PART)
            network.chip_geometry = chip_geometry.ChipGeometry.of_weights(weights)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"weights do not fit their configuration: {error}") from error
    return network.eval()


def main() -> None:
    """Run python -m model.checkpoint network.safetensors proposals.safetensors --out shipped.safetensors."""
    parser = argparse.ArgumentParser(description="Joins the parts of several checkpoints into one; later ones win.")
    parser.add_argument("parts", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    parts: dict[str, dict[str, Tensor]] = {}
    config: dict[str, Any] = {}
    for loaded in map(load, arguments.parts):
        parts |= {prefix: loaded.part(prefix) for prefix in {name.partition(".")[0] for name in loaded.tensors}}
        config |= loaded.config
    save(arguments.out, parts, config)
    sys.stdout.write(f"{arguments.out}: {', '.join(sorted(parts))}, {load(arguments.out).digest}\n")


if __name__ == "__main__":
    main()
