"""Runs several OpenVINO requests at once, each on pixels of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.openvino_package import openvino
from model.warps import Image


def run(requests: Sequence[openvino.InferRequest], inputs: Sequence[Image]) -> None:
    """Run each request on its input uint8 [K, H, W, 3], all at once, and wait for all of them.

    Contiguous, writable pixels are not copied. Setting the tensor first and then running takes 0.16 ms for a single
    small crop; `start_async([pixels])` takes 0.24 ms, since it asks the model for its inputs each time.
    """
    # Held until the end, since a tensor that shares memory does not keep its array alive.
    held = [np.require(pixels, requirements=["C", "W"]) for pixels in inputs]
    for request, pixels in zip(requests, held, strict=True):
        request.set_input_tensor(0, openvino.Tensor(pixels, shared_memory=True))
    if len(requests) == 1:
        requests[0].infer()
        return
    for request in requests:
        request.start_async()
    for request in requests:
        request.wait()
