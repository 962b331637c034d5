"""The proposer in OpenVINO: levels of any size, one after the other or two at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np

from model.boxes import Array
from model.openvino_package import openvino
from model.runtime.engines.side_by_side import run
from model.warps import Image


class LevelModel:
    """The proposer; `compiled` compiles it for a number of streams, which share all threads.

    Levels go through one by one, which costs no more than several together. All threads work on one level, unless there
    are enough of them to give each of `streams` its own: layers this small gain little from a second thread. The model
    for that is compiled by the first call that has them, which only batches of a busy worker and tiles of a very large
    photo do.
    """

    def __init__(self, compiled: Callable[[int], openvino.CompiledModel], streams: int) -> None:
        self._compiled = compiled
        self._streams = streams
        self._alone: openvino.InferRequest | None = compiled(1).create_infer_request()
        self._beside: list[openvino.InferRequest] = []

    def __call__(self, batches: Sequence[Image]) -> list[Array]:
        """Return the map [B, 4, H/8, W/8] of each batch of levels uint8 [B, H, W, 3]."""
        levels = list(chain.from_iterable(batches))
        requests = self._requests([level.size for level in levels])
        maps: dict[int, Array] = {}
        # The largest first, so that those at once are of about one size.
        order = sorted(range(len(levels)), key=lambda index: -levels[index].size)
        for start in range(0, len(order), len(requests)):
            chosen = order[start : start + len(requests)]
            running = requests[: len(chosen)]
            run(running, [levels[index][None] for index in chosen])
            for request, index in zip(running, chosen, strict=True):
                maps[index] = np.array(request.get_output_tensor(0).data, np.float32)
        following = iter(range(len(levels)))
        return [np.concatenate([maps[next(following)] for _ in batch]) for batch in batches]

    def release_memory(self) -> None:
        """Compile the model anew: it keeps working memory for the largest image that it ever saw."""
        self._alone = None  # first, so that there are never two of them
        self._beside = []
        self._alone = self._compiled(1).create_infer_request()

    def _requests(self, sizes: Sequence[int]) -> list[openvino.InferRequest]:
        """Return one request, or one a stream where no level is more than a stream's share of the work."""
        if self._streams == 1 or max(sizes) * self._streams > sum(sizes):
            assert self._alone is not None
            return [self._alone]
        if not self._beside:
            model = self._compiled(self._streams)
            self._beside = [model.create_infer_request() for _ in range(self._streams)]
        return self._beside
