"""A network of crops in OpenVINO: any number of them, cut into the few batch sizes that were prepared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.openvino_package import openvino
from model.runtime.engines.protocol import Outputs
from model.runtime.engines.side_by_side import run
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
        requests = self._requests if len(crops) > 1 else [self._single]
        shares = batches_of_shares(len(crops), len(requests), self._batch_sizes)
        parts: Outputs = {}
        for step in range(max(map(len, shares))):
            running = [(request, share[step]) for request, share in zip(requests, shares, strict=True) if share[step:]]
            run([request for request, _ in running], [crops[batch] for _, batch in running])
            for request, batch in running:
                for index, name in enumerate(self.names):
                    values = request.get_output_tensor(index).data
                    if name not in parts:
                        parts[name] = np.empty((len(crops), *values.shape[1:]), np.float32)
                    parts[name][batch] = values
        return parts

    def warm_up(self) -> None:
        """Run each request once with every size of batch that it can get, those that can run side by side so."""
        for requests, sizes in ((self._requests, self._batch_sizes), ([self._single], (1,))):
            for count in sizes:
                blank = np.zeros((count, self._size, self._size, 3), np.uint8)
                run(requests, [blank] * len(requests))


def batches_of_shares(count: int, streams: int, sizes: Sequence[int]) -> list[list[slice]]:
    """Cut `count` crops into equal shares, one a stream, and each share into batches of the sizes, largest first.

    All streams have as much to do, to within a crop: batches dealt out in turns can leave one with four more.
    """
    shares = []
    start = 0
    for stream in range(streams):
        end = start + (count - start) // (streams - stream)
        batches = []
        for size in sizes:
            while end - start >= size:
                batches.append(slice(start, start + size))
                start += size
        shares.append(batches)
    return shares
