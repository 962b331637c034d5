"""Starts of training: published identity networks, read from plain arrays into our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.datasets import shared_dir
from model.network import AllInOne

_RESIDUAL_NAMES = {
    "conv32_down": "0.0",
    "conv32_1": "0.3",
    "conv32_2": "0.4",
    "conv32_3": "0.5",
    "conv64_down": "1",
    "conv64_1": "2.0",
    "conv64_2": "2.1",
    "conv64_3": "2.2",
    "conv128_down": "3",
    "conv128_1": "4.0",
    "conv128_2": "4.1",
    "conv256_down": "5.0",
    "conv256_1": "5.1",
    "conv256_2": "5.2",
    "conv256_down_out": "6",
}
"""Block of dlib's network → where it stands in the stages of `residual`."""


def start(network: AllInOne, seed: int = 0) -> None:
    """Give a network the weights of the identity network that its trunk was taken from, from the shared folder.

    Raises FileNotFoundError without the file, ValueError for a trunk that has none and a file that does not fit.
    """
    folder = shared_dir() / "data" / "teacher"
    if network.config.trunk == "mobile":
        load_mobile(network, folder / "mobilefacenet_b.npz")
    else:
        load_teacher(network, folder / "dlib_resnet.npz", seed)


def load_mobile(network: AllInOne, path: Path) -> None:
    """Give a `mobile` network the weights of a MobileFaceNet (an .npz of folded convolutions), and its descriptor.

    That network takes BGR; the first convolution's weights change places so that this one takes RGB. The deep branches'
    own stages start as copies. Raises FileNotFoundError without the file, ValueError where it does not fit.
    """
    if network.config.trunk != "mobile" or network.identity is None:
        raise ValueError("only a mobile network with an identity branch can start from a MobileFaceNet")
    with np.load(path) as arrays:
        tensors = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    linear = {part: _array(tensors, f"stage7.linear.{part}") for part in ("weight", "bias")}
    state = {}
    for name, tensor in tensors.items():
        stage, _, rest = name.removeprefix("stage").partition(".")
        if not rest.startswith("linear."):
            state[f"{int(stage) - 1}.{rest}{'.weight' if rest.endswith('_prelu') else ''}"] = tensor
    state["0.conv.weight"] = _array(state, "0.conv.weight").flip(1)
    try:
        network.stages.load_state_dict(state)
        network.identity.fc7.load_state_dict({"weight": linear["weight"].flatten(1), "bias": linear["bias"]})
        network.fork()
    except RuntimeError as error:
        raise ValueError(f"the teacher does not fit the network: {error}") from error


def load_teacher(network: AllInOne, path: Path, seed: int = 0) -> None:
    """Give a `residual` network the weights of dlib's face recognition ResNet (an .npz of folded convolutions, CC0).

    fc7 and the linear map after it are set so that embedding(descriptor) is the teacher's 128-d descriptor; the
    descriptor's other 384 directions start as small random projections. Raises FileNotFoundError without the file,
    ValueError where it does not fit.
    """
    if network.config.trunk != "residual" or network.identity is None:
        raise ValueError("only a residual network with an identity branch can start from the teacher")
    with np.load(path) as arrays:
        teacher = {name: torch.from_numpy(arrays[name].astype(np.float32)) for name in arrays.files}
    state = {}
    for name, place in _RESIDUAL_NAMES.items():
        parts = ("",) if name == "conv32_down" else (".conv1", ".conv2")
        for part in parts:
            scale = _array(teacher, f"{name}{part}.scale")
            state[f"{place}{part}.weight"] = _array(teacher, f"{name}{part}.weight") * scale[:, None, None, None]
            state[f"{place}{part}.bias"] = _array(teacher, f"{name}{part}.bias")
    try:
        network.stages.load_state_dict(state)
        network.fork()
    except RuntimeError as error:
        raise ValueError(f"the teacher does not fit the network: {error}") from error
    _start_identity(network, _array(teacher, "fc.weight"), seed)


def _array(teacher: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in teacher:
        raise ValueError(f"the teacher lacks {name}")
    return teacher[name]


def _start_identity(network: AllInOne, projection: Tensor, seed: int) -> None:
    branch = network.identity
    assert branch is not None
    assert branch.embedding is not None
    size, width = branch.fc7.weight.shape
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
    identity_basis = basis[:, : len(projection)]
    free_basis = basis[:, len(projection) :]
    noise = torch.randn(free_basis.shape[1], width, generator=generator) * projection.std() * 0.2
    with torch.no_grad():
        branch.fc7.weight.copy_(identity_basis @ projection + free_basis @ noise)
        branch.fc7.bias.zero_()
        branch.embedding.weight.copy_(identity_basis.T)
