"""The networks on OpenVINO, for processors: twice as fast as PyTorch there, without importing it.

Unless another number format is asked for all that is reported comes from float32, so that the same regions are looked
at and a template means the same on every machine. Only what is plainly no face is told in bfloat16, which takes half
the time on processors that multiply it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model.boxes import Array
from model.openvino_package import openvino
from model.runtime.engines.protocol import EngineName, Outputs
from model.runtime.memory import page_out
from model.runtime.screening import SIZE
from model.warps import Image

BATCHES = (4, 2, 1)
"""Sizes of the batches that crops are cut into: prepared by warm_up(), so that no number of faces meets a first time.
Four crops cost no more each than sixteen."""
CHIP_BATCHES = (2, 1)
"""The same for the second pass, which makes two crops of a chip: 8 chips took 76 ms so and 84 in batches of four."""
SCREEN_BATCHES = (16, 8, 4, 2, 1)
"""The same for the screening network's smaller crops."""
BFLOAT16 = "BF16"
"""What OpenVINO calls a processor's ability to multiply in bfloat16."""
SIDE_BY_SIDE = 2
"""Batches that run at once, each on its share of the threads: layers this small gain little from a second thread."""

Compile = Callable[[int], openvino.CompiledModel]
"""From a number of batches that may run at once to the model, compiled for them."""


class CropModel:
    """A model of crops: a single one takes all threads, several are cut into batches that run side by side.

    With `seldom_single` a single one takes the threads of one batch, which saves the memory of a second compiled model.
    """

    def __init__(
        self,
        compile_for: Compile,
        names: Sequence[str],
        sizes: Sequence[int],
        size: int,
        streams: int,
        *,
        seldom_single: bool = False,
    ) -> None:
        self.names = names
        self._sizes = sizes
        self._size = size
        model = compile_for(streams)
        self._requests = [model.create_infer_request() for _ in range(streams)]
        self._single = self._requests[0] if seldom_single else compile_for(1).create_infer_request()

    def __call__(self, crops: Image) -> Outputs:
        """Return the outputs by name of crops uint8 [K, S, S, 3]."""
        batches = list(_batches(np.ascontiguousarray(crops), self._sizes, len(self._requests)))
        requests = self._requests if len(crops) > 1 else [self._single]
        parts: dict[str, list[Array]] = {name: [] for name in self.names}
        for start in range(0, len(batches), len(requests)):
            running = list(zip(requests, batches[start : start + len(requests)], strict=False))
            for request, batch in running:
                request.start_async([batch], share_inputs=True)
            for request, _ in running:
                request.wait()
                for index, name in enumerate(self.names):
                    parts[name].append(np.array(request.get_output_tensor(index).data, np.float32))
        return {name: np.concatenate(values) for name, values in parts.items()}

    def warm_up(self) -> None:
        """Run each request once with every size of batch that it can get."""
        for request, sizes in (*((request, self._sizes) for request in self._requests), (self._single, (1,))):
            for count in sizes:
                request.infer([np.zeros((count, self._size, self._size, 3), np.uint8)], share_inputs=True)


class OpenVinoEngine:
    """The models of a folder that conversion.converted() made. Raises RuntimeError for what cannot be read."""

    name: EngineName = "openvino"

    def __init__(self, folder: Path, size: int, dtype: str, threads: int, *, propose: bool) -> None:
        number_format = "float32" if dtype == "auto" else dtype
        self.precision = {"detection": number_format, "identity": number_format}
        self._weights = list(folder.glob("*.bin"))
        core = openvino.Core()
        compiled = partial(_compiled, core, number_format, threads)
        streams = SIDE_BY_SIDE if (threads or os.cpu_count() or 1) >= SIDE_BY_SIDE else 1

        def crop_model(network: openvino.Model, sizes: Sequence[int], side: int) -> CropModel:
            # A compiled model can add names of its own to these.
            names = [output.any_name for output in network.outputs]
            return CropModel(partial(compiled, network), names, sizes, side, streams)

        # Each file is read once: models that are compiled from it share its weights.
        first_pass = core.read_model(folder / "detect.xml")
        self._detect = crop_model(first_pass, BATCHES, size)
        self._glance: CropModel | None = None
        if dtype == "auto" and BFLOAT16 in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            quick = partial(_compiled, core, "bfloat16", threads, _only(first_pass, "detection"))
            self._glance = CropModel(quick, ["detection"], BATCHES, size, streams, seldom_single=True)
        self._describe = crop_model(core.read_model(folder / "describe.xml"), CHIP_BATCHES, size)
        self._screen: CropModel | None = None
        if (folder / "screen.xml").is_file():
            self._screen = crop_model(core.read_model(folder / "screen.xml"), SCREEN_BATCHES, SIZE)
        self._compile_proposer = partial(compiled, core.read_model(folder / "propose.xml"), 1) if propose else None
        self._propose = self._compile_proposer().create_infer_request() if self._compile_proposer else None

    @property
    def screens(self) -> bool:
        """Whether the checkpoint brings a screening network."""
        return self._screen is not None

    def screen(self, crops: Image) -> tuple[Array, Array]:
        """Return scores [K] and placements [K, 4] of the screening network for crops uint8 [K, SIZE, SIZE, 3]."""
        assert self._screen is not None
        outputs = self._screen(crops)
        return outputs["score"], outputs["placement"]

    @property
    def glances(self) -> bool:
        """Whether the processor multiplies in bfloat16, and no other number format was asked for."""
        return self._glance is not None

    def glance(self, crops: Image) -> Array:
        """Return how likely each of crops uint8 [K, S, S, 3] shows a face, in bfloat16 where `glances`."""
        return (self._glance or self._detect)(crops)["detection"]

    def detect(self, crops: Image) -> Outputs:
        """Return the DETECT outputs of crops uint8 [K, S, S, 3]."""
        return self._detect(crops)

    def describe(self, chips: Image) -> Outputs:
        """Return the outputs of the second pass for chips uint8 [K, S, S, 3]."""
        return self._describe(chips)

    def propose(self, batches: Sequence[Image]) -> list[Array]:
        """Return the proposer's maps; levels go through one by one, which costs no more than together."""
        request = self._propose
        assert request is not None
        maps = []
        for batch in batches:
            parts = []
            for level in batch:
                request.infer([level[None]], share_inputs=True)
                parts.append(np.array(request.get_output_tensor(0).data, np.float32))
            maps.append(np.concatenate(parts))
        return maps

    def warm_up(self) -> None:
        """Run every size of batch once."""
        for model in (self._detect, self._glance, self._describe, self._screen):
            if model is not None:
                model.warm_up()

    def release_memory(self) -> None:
        """Give back the proposer's working memory, some 60 MB, and the pages of the weight files, some 45 MB.

        Only the proposer sees images of any size, and keeps memory for the largest, so it is compiled anew. The weight
        files stay mapped, although the compiled models hold a second copy of the weights, laid out for the processor.
        """
        page_out(self._weights)
        if self._compile_proposer:
            self._propose = None  # first, so that there are never two of them
            self._propose = self._compile_proposer().create_infer_request()


def _only(network: openvino.Model, name: str) -> openvino.Model:
    """Return a copy of a network that has but the output of that name."""
    copy = network.clone()
    for result in copy.get_results():
        if name not in result.output(0).get_tensor().get_names():
            copy.remove_result(result)
    return copy


def _compiled(
    core: openvino.Core, number_format: str, threads: int, network: openvino.Model, streams: int
) -> openvino.CompiledModel:
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[number_format],
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        # Unpinned, or decoding threads would wait for the cores that they share with the model's.
        "ENABLE_CPU_PINNING": False,
    }
    if threads:
        properties["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(network, "CPU", properties)


def _batches(crops: Image, sizes: Sequence[int], streams: int) -> Iterator[Image]:
    """Cut crops into batches of the sizes, the largest first, none with more than its share of the crops."""
    start = 0
    share = -(-len(crops) // streams)
    for size in sizes:
        while len(crops) - start >= size and (size <= share or size == 1):
            yield crops[start : start + size]
            start += size
