"""A network of crops in OpenVINO: any number of them, cut into the few batch sizes that were prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from model.boxes import Array
from model.openvino_package import openvino
from model.runtime.engines.protocol import Outputs
from model.warps import Image


class CropModel:
    """A model of crops of `size` pixels a side: several are cut into batches of `batch_sizes`, largest first.

    Batches run side by side, as many as there are `requests`; a single crop goes through `single`.
    """

    def __init__(
        self,
        names: Sequence[str],
        batch_sizes: Sequence[int],
        size: int,
        requests: Sequence[openvino.InferRequest],
        single: openvino.InferRequest,
    ) -> None:
        self.names = names
        self._batch_sizes = batch_sizes
        self._size = size
        self._requests = requests
        self._single = single

    def __call__(self, crops: Image) -> Outputs:
        """Return the outputs by name of crops uint8 [K, S, S, 3]."""
        batches = list(_batches(np.ascontiguousarray(crops), self._batch_sizes, len(self._requests)))
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
        """Run each request once with every size of batch that it can get, those that can run side by side so."""
        for requests, sizes in ((self._requests, self._batch_sizes), ([self._single], (1,))):
            for count in sizes:
                blank = np.zeros((count, self._size, self._size, 3), np.uint8)
                for request in requests:
                    request.start_async([blank], share_inputs=True)
                for request in requests:
                    request.wait()


def _batches(crops: Image, sizes: Sequence[int], streams: int) -> Iterator[Image]:
    """Cut crops into batches of the sizes, the largest first, none with more than its share of the crops."""
    start = 0
    share = -(-len(crops) // streams)
    for size in sizes:
        while len(crops) - start >= size and (size <= share or size == 1):
            yield crops[start : start + size]
            start += size
