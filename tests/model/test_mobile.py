"""The preset `mobile` and its start: the same descriptor as a forward pass written from the arrays' description."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model import geometry, landmarks, teacher
from model.datasets import shared_dir
from model.network import AllInOne
from model.presets import PRESETS

ARRAYS = shared_dir() / "data" / "teacher" / "mobilefacenet_b.npz"
Arrays = dict[str, np.ndarray]


def random_arrays(seed: int = 0) -> Arrays:
    """Arrays of the published file's names and shapes."""
    rng, arrays = np.random.default_rng(seed), Arrays()

    def convolution(name: str, out: int, inputs: int, kernel: int) -> None:
        spread = (inputs * kernel * kernel) ** -0.5
        arrays[f"{name}.weight"] = rng.normal(0, spread, (out, inputs, kernel, kernel)).astype(np.float16)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, out).astype(np.float32)

    def slopes(name: str, width: int) -> None:
        arrays[f"{name}_prelu"] = rng.uniform(0, 0.5, width).astype(np.float32)

    def unit(name: str, width: int, inner: int, out: int) -> None:
        convolution(f"{name}.expand", inner, width, 1)
        slopes(f"{name}.expand", inner)
        convolution(f"{name}.depthwise", inner, 1, 3)
        slopes(f"{name}.depthwise", inner)
        convolution(f"{name}.project", out, inner, 1)

    convolution("stage1.conv", 64, 3, 3)
    slopes("stage1.conv", 64)
    convolution("stage1.depthwise", 64, 1, 3)
    slopes("stage1.depthwise", 64)
    unit("stage2", 64, 128, 64)
    for i in range(4):
        unit(f"stage3.{i}", 64, 128, 64)
    unit("stage4", 64, 256, 128)
    for i in range(6):
        unit(f"stage5.{i}", 128, 256, 128)
    unit("stage6.0", 128, 512, 128)
    for i in (1, 2):
        unit(f"stage6.{i}", 128, 256, 128)
    convolution("stage7.expand", 512, 128, 1)
    slopes("stage7.expand", 512)
    convolution("stage7.depthwise", 512, 1, 7)
    convolution("stage7.linear", 512, 512, 1)
    return arrays


def reference(arrays: Arrays, pixels: Tensor) -> Tensor:
    """RGB chips [K, 3, 112, 112], 0–255 → descriptors [K, 512], in the published network's own BGR."""

    def convolve(x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = (torch.from_numpy(arrays[f"{name}.{part}"].astype(np.float32)) for part in ("weight", "bias"))
        return F.conv2d(x, weight, bias, stride, padding, groups=x.shape[1] // weight.shape[1])

    def prelu(x: Tensor, name: str) -> Tensor:
        return F.prelu(x, torch.from_numpy(arrays[f"{name}_prelu"]))

    def unit(x: Tensor, name: str, stride: int = 1) -> Tensor:
        y = prelu(convolve(x, f"{name}.expand"), f"{name}.expand")
        y = prelu(convolve(y, f"{name}.depthwise", stride, 1), f"{name}.depthwise")
        y = convolve(y, f"{name}.project")
        return y if stride == 2 else y + x

    x = (pixels.float().flip(1) - 127.5) / 127.5
    x = prelu(convolve(x, "stage1.conv", 2, 1), "stage1.conv")
    x = unit(prelu(convolve(x, "stage1.depthwise", 1, 1), "stage1.depthwise"), "stage2", 2)
    for i in range(4):
        x = unit(x, f"stage3.{i}")
    x = unit(x, "stage4", 2)
    for i in range(6):
        x = unit(x, f"stage5.{i}")
    x = unit(x, "stage6.0", 2)
    for i in (1, 2):
        x = unit(x, f"stage6.{i}")
    x = prelu(convolve(x, "stage7.expand"), "stage7.expand")
    return convolve(convolve(x, "stage7.depthwise"), "stage7.linear").flatten(1)


def chips(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    coarse = torch.rand(count, 3, 14, 14, generator=generator) * 255
    return F.interpolate(coarse, size=112, mode="bilinear").round().to(torch.uint8)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "mobilefacenet_b.npz"
    arrays = random_arrays()
    np.savez(path, **arrays)
    network = AllInOne(PRESETS["mobile"]).eval()
    teacher.load_mobile(network, path)
    return network, arrays


@torch.inference_mode()
def test_the_descriptor_is_the_published_forward_pass(started):
    network, arrays = started
    descriptor = network(chips(3), ["descriptor"])["descriptor"]
    assert descriptor.shape == (3, 512)
    torch.testing.assert_close(descriptor, reference(arrays, chips(3)), rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not ARRAYS.is_file(), reason="the published network is not in the shared folder")
@torch.inference_mode()
def test_the_descriptor_of_the_published_weights_is_kept():
    network = AllInOne(PRESETS["mobile"]).eval()
    teacher.start(network)
    with np.load(ARRAYS) as arrays:
        expected = reference(dict(arrays), chips(8))
    cosine = F.cosine_similarity(network(chips(8), ["descriptor"])["descriptor"], expected)
    assert cosine.min().item() >= 0.9999


@torch.inference_mode()
def test_the_deep_branches_start_as_copies_of_stages_4_to_7(started):
    network, _ = started
    maps = network.trunk(chips(2), 7)
    own = maps[2]
    for stage in network.deep_stages:
        own = stage(own)
    torch.testing.assert_close(own, maps[6])
    assert own.shape == (2, 512, 1, 1)


def test_training_of_the_deep_branches_needs_three_stages_of_the_trunk():
    network = AllInOne(PRESETS["mobile"])
    assert [network.depth([name]) for name in ("age", "landmarks", "descriptor")] == [3, 5, 7]
    assert network.depth(["smile", "pose"]) == 5


@torch.inference_mode()
def test_outputs_have_the_shapes_that_are_read(started):
    network, _ = started
    shapes = {name: tuple(value.shape[1:]) for name, value in network(chips(2)).items()}
    assert shapes == {
        "detection": (2,),
        "landmarks": (42,),
        "visibility": (21,),
        "pose": (4,),
        "gender": (2,),
        "age": (101,),
        "smile": (2,),
        "descriptor": (512,),
    }


def test_unfit_arrays_and_networks_are_refused(tmp_path):
    arrays = random_arrays()
    del arrays["stage5.3.depthwise.bias"]
    np.savez(tmp_path / "short.npz", **arrays)
    with pytest.raises(ValueError, match="does not fit"):
        teacher.load_mobile(AllInOne(PRESETS["mobile"]), tmp_path / "short.npz")
    with pytest.raises(ValueError, match="only a mobile network"):
        teacher.load_mobile(AllInOne(PRESETS["residual"]), tmp_path / "short.npz")
    with pytest.raises(FileNotFoundError):
        teacher.load_mobile(AllInOne(PRESETS["mobile"]), tmp_path / "nothing.npz")


def test_chips_are_framed_by_five_points_of_the_112_pixel_face():
    """Eye centres, nose tip and mouth corners come to stand where the published framing has them."""
    points = torch.zeros(1, 21, 2)
    five = torch.tensor(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    angle = torch.deg2rad(torch.tensor(130.0))
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    points[0, [7, 10, 14, 17, 19]] = five @ turn.T * 2.5 + torch.tensor([300.0, 40.0])
    matrices = geometry.alignment_matrices(points, 112, PRESETS["mobile"].frame)
    chip = geometry.transform(points, matrices)[0, [7, 10, 14, 17, 19]]
    torch.testing.assert_close(chip, five, atol=1e-2, rtol=0)


def test_the_other_presets_keep_their_frame():
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 80 + 30
    for name in ("paper", "hyperface", "residual"):
        frame = PRESETS[name].frame
        chip = geometry.transform(points, geometry.alignment_matrices(points, 150, frame))[0]
        torch.testing.assert_close(chip, torch.from_numpy(landmarks.CANONICAL) * 150, atol=1e-2, rtol=0)
