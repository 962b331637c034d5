"""The networks on OpenVINO, for processors: twice as fast as PyTorch there, without importing it.

Unless another number format is asked for all that is reported comes from float32, so that the same regions are looked
at and a template means the same on every machine. Only what is plainly no face is told in bfloat16, which takes half
the time on processors that multiply it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from model.boxes import Array
from model.openvino_package import openvino
from model.runtime.engines.crop_model import CropModel
from model.runtime.engines.level_model import LevelModel
from model.runtime.engines.protocol import EngineName, Outputs
from model.runtime.memory import page_out
from model.runtime.screening import SIZE
from model.warps import Image

BATCHES = (4, 2, 1)
"""Sizes of the batches that crops are cut into: prepared by warm_up(), so that no number of faces meets a first time.
Four crops cost no more each than sixteen."""
MIRROR_BATCHES = (2, 1)
"""The same for mirror images, of which there are few."""
SCREEN_BATCHES = (16, 8, 4, 2, 1)
"""The same for the screening network's smaller crops."""
BFLOAT16 = "BF16"
"""What OpenVINO calls a processor's ability to multiply in bfloat16."""
SIDE_BY_SIDE = 2
"""Batches that run at once, each on its share of the threads: layers this small gain little from a second thread."""


class OpenVinoEngine:
    """The models of a folder that conversion.converted() made. Raises RuntimeError for what cannot be read.

    Each network of crops is compiled once for a single crop on all threads, and once for several batches side by side;
    that of mirror images only for the first.
    """

    name: EngineName = "openvino"

    def __init__(self, folder: Path, size: int, dtype: str, threads: int, *, propose: bool) -> None:
        number_format = "float32" if dtype == "auto" else dtype
        self.precision = {"detection": number_format, "identity": number_format}
        self._weights = list(folder.glob("*.bin"))
        self._streams = SIDE_BY_SIDE if (threads or os.cpu_count() or 1) >= SIDE_BY_SIDE else 1
        core = openvino.Core()
        compiled = partial(_compiled, core, threads)

        def crop_model(network: openvino.Model, batch_sizes: Sequence[int], side: int) -> CropModel:
            # A compiled model can add names of its own to these.
            names = [output.any_name for output in network.outputs]
            single = compiled(number_format, network, 1).create_infer_request()
            requests = self._requests(compiled(number_format, network, self._streams))
            return CropModel(names, batch_sizes, side, requests, single)

        def mirror_model(network: openvino.Model) -> CropModel:
            # Few photos show several faces that need it: one compiled model saves the memory of a second.
            request = compiled(number_format, network, 1).create_infer_request()
            return CropModel([output.any_name for output in network.outputs], MIRROR_BATCHES, size, [request], request)

        # Each file is read once: models that are compiled from it share its weights.
        networks = {path.stem: core.read_model(path) for path in folder.glob("*.xml")}
        with ThreadPoolExecutor(self._streams) as threads_that_compile:
            start = threads_that_compile.submit
            waiting = {
                "describe": start(crop_model, networks["describe"], BATCHES, size),
                "mirror": start(mirror_model, networks["mirror"]),
                "detect": start(crop_model, networks["detect"], BATCHES, size),
            }
            if "screen" in networks:
                waiting["screen"] = start(crop_model, networks["screen"], SCREEN_BATCHES, SIZE)
        self._models = {name: model.result() for name, model in waiting.items()}
        self.glances = dtype == "auto" and BFLOAT16 in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._compile_glance = partial(compiled, "bfloat16", _only(networks["detect"], "detection"), self._streams)
        self._glance: CropModel | None = None
        self._size = size
        self._proposer: LevelModel | None = None
        if propose:
            self._proposer = LevelModel(partial(compiled, number_format, networks["propose"]), self._streams)

    @property
    def screens(self) -> bool:
        """Whether the checkpoint brings a screening network."""
        return "screen" in self._models

    def screen(self, crops: Image) -> tuple[Array, Array]:
        """Return scores [K] and placements [K, 4] of the screening network for crops uint8 [K, SIZE, SIZE, 3]."""
        outputs = self._models["screen"](crops)
        return outputs["score"], outputs["placement"]

    def glance(self, crops: Image) -> Array:
        """Return how likely each of crops uint8 [K, S, S, 3] shows a face, in bfloat16.

        The first call compiles a network for it, which takes a tenth of a second and 45 MB.
        """
        if self._glance is None:
            requests = self._requests(self._compile_glance())
            self._glance = CropModel(["detection"], BATCHES, self._size, requests, single=requests[0])
        return self._glance(crops)["detection"]

    def detect(self, crops: Image) -> Outputs:
        """Return the DETECT outputs of crops uint8 [K, S, S, 3]."""
        return self._models["detect"](crops)

    def describe(self, chips: Image) -> Outputs:
        """Return the outputs of the second pass for chips uint8 [K, S, S, 3]."""
        return self._models["describe"](chips)

    def mirror(self, chips: Image) -> Outputs:
        """Return what counts of the mirror images of chips uint8 [K, S, S, 3]."""
        return self._models["mirror"](chips)

    def propose(self, batches: Sequence[Image]) -> list[Array]:
        """Return the proposer's maps [B, 4, H/8, W/8] of batches of levels."""
        assert self._proposer is not None
        return self._proposer(batches)

    def warm_up(self) -> None:
        """Run every size of batch once."""
        for model in self._models.values():
            model.warm_up()

    def release_memory(self) -> None:
        """Give back the proposer's working memory, some 60 MB, glance()'s, and the pages of the weight files, some 45.

        Only the proposer sees images of any size, and keeps memory for the largest, so it is compiled anew. The weight
        files stay mapped, although the compiled models hold a second copy of the weights, laid out for the processor.
        """
        page_out(self._weights)
        self._glance = None
        if self._proposer:
            self._proposer.release_memory()

    def _requests(self, model: openvino.CompiledModel) -> list[openvino.InferRequest]:
        return [model.create_infer_request() for _ in range(self._streams)]


def _only(network: openvino.Model, name: str) -> openvino.Model:
    """Return a copy of a network that has but the output of that name."""
    copy = network.clone()
    for result in copy.get_results():
        if name not in result.output(0).get_tensor().get_names():
            copy.remove_result(result)
    return copy


def _compiled(
    core: openvino.Core, threads: int, number_format: str, network: openvino.Model, streams: int
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
