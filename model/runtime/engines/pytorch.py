"""The networks on PyTorch: for CUDA, for training tools, and where OpenVINO is not installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model import checkpoint
from model.boxes import Array
from model.proposal_network import ProposalNetwork
from model.runtime import passes
from model.runtime.engines.protocol import EngineName, Outputs
from model.runtime.inference import Inference
from model.screening_network import ScreeningNetwork, read_screening
from model.warps import Image

DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchEngine:
    """A checkpoint's networks on one device of PyTorch's; proposer and screening network stay in float32.

    Raises CheckpointError where the weights do not fit, ValueError without the CUDA device that is asked for.
    """

    name: EngineName = "torch"
    glances = False

    def __init__(self, weights: Path, device: str, dtype: str, threads: int, *, propose: bool) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device}: no CUDA device is there")
        if threads:
            torch.set_num_threads(threads)
        with _single_threaded():
            loaded = checkpoint.load(weights)
            self.inference = Inference(checkpoint.build_network(loaded), device, DTYPES[dtype])
            proposer: nn.Module | None = load_proposer(loaded) if propose else None
            self._proposer = proposer.to(device, memory_format=torch.channels_last) if proposer else None  # type: ignore[call-overload]
            screening: nn.Module | None = load_screening(loaded) if loaded.holds("screening") else None
            self._screening = screening.to(device, memory_format=torch.channels_last) if screening else None  # type: ignore[call-overload]
        number_format = str(DTYPES[dtype]).removeprefix("torch.")
        self.precision = {"detection": number_format, "identity": number_format}

    @property
    def screens(self) -> bool:
        """Whether the checkpoint brings a screening network."""
        return self._screening is not None

    @torch.inference_mode()
    def screen(self, crops: Image) -> tuple[Array, Array]:
        """Return scores [K] and placements [K, 4] of the screening network."""
        assert self._screening is not None
        [outputs] = send_pixels(self._screening, self.inference.device, [crops])
        scores, placements = read_screening(outputs.cpu())
        return scores.numpy(), placements.numpy()

    def glance(self, crops: Image) -> Array:
        """Return how likely each of crops uint8 [K, S, S, 3] shows a face, as detect() has it."""
        return self.detect(crops)["detection"]

    def detect(self, crops: Image) -> Outputs:
        """Return the DETECT outputs of crops uint8 [K, S, S, 3]."""
        return self._run(passes.detect, crops)

    def describe(self, chips: Image) -> Outputs:
        """Return the outputs of the second pass for chips uint8 [K, S, S, 3]."""
        return self._run(passes.describe, chips)

    def mirror(self, chips: Image) -> Outputs:
        """Return what counts of the mirror images of chips uint8 [K, S, S, 3]."""
        return self._run(passes.mirror, chips)

    def _run(self, which: passes.Pass, crops: Image) -> Outputs:
        outputs = self.inference(which, torch.from_numpy(crops).permute(0, 3, 1, 2))
        return {name: value.numpy() for name, value in outputs.items()}

    @torch.inference_mode()
    def propose(self, batches: Sequence[Image]) -> list[Array]:
        """Return the proposer's maps; all batches are sent before any is waited for."""
        assert self._proposer is not None
        maps = send_pixels(self._proposer, self.inference.device, batches)
        return [np.asarray(found.cpu().numpy(), np.float32) for found in maps]

    def warm_up(self) -> None:
        """Run every size of batch that CUDA meets once; on the CPU one crop."""
        with _single_threaded():
            for which in (passes.detect, passes.describe, passes.mirror):
                self.inference.warm_up(which)

    def release_memory(self) -> None:
        """Do nothing: PyTorch frees what a call needed at its end, and keeps a GPU's memory for the next on purpose."""


def send_pixels(network: nn.Module, device: torch.device, batches: Sequence[Image]) -> list[Tensor]:
    """Outputs of batches of pixels uint8 [K, H, W, 3], on the device; CUDA's copies and networks are not waited for."""
    outputs = []
    for batch in batches:
        pixels = torch.from_numpy(batch)
        cuda = device.type == "cuda"
        pixels = (pixels.pin_memory() if cuda else pixels).to(device, non_blocking=cuda)
        outputs.append(network(pixels.permute(0, 3, 1, 2)).float())
    return outputs


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Load with one OpenMP thread; otherwise the loading thread keeps a helper for life and oversubscribes the cores.

    OpenMP then sleeps instead of spinning while it waits, for good, which makes the thread that analyzes a sixth
    slower (docs/log.md, 'threads that load the model').
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def load_proposer(loaded: checkpoint.Checkpoint) -> ProposalNetwork:
    """Build the proposal network of a checkpoint. Raises CheckpointError where its weights do not fit."""
    try:
        network = ProposalNetwork.of_weights(loaded.part("proposals"))
    except RuntimeError as error:
        raise checkpoint.CheckpointError(f"the proposal network's weights do not fit: {error}") from error
    return network.eval()


def load_screening(loaded: checkpoint.Checkpoint) -> ScreeningNetwork:
    """Build the screening network of a checkpoint. Raises CheckpointError where its weights do not fit."""
    network = ScreeningNetwork()
    try:
        network.load_state_dict(loaded.part("screening"))
    except RuntimeError as error:
        raise checkpoint.CheckpointError(f"the screening network's weights do not fit: {error}") from error
    return network.eval()
