"""The start from dlib's ResNet: the same descriptor as a forward pass written from the arrays' description."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from torch import Tensor

from model import geometry, landmarks
from model.datasets import Sample, shared_dir
from model.evaluate import celeba
from model.evaluate.run import Analyzed
from model.network import AllInOne
from model.presets import PRESETS
from model.structures import Faces
from model.teacher import load_teacher

SHAPES = {"boxes": (4,), "scores": (), "visibility": (21,), "pose": (3,), "smile": (), "female": (), "age": ()}
SHAPES |= {"descriptor": (512,)}
BLOCKS = {  # name: (inputs, outputs)
    **{f"conv32_{i}": (32, 32) for i in (1, 2, 3)},
    "conv64_down": (32, 64),
    **{f"conv64_{i}": (64, 64) for i in (1, 2, 3)},
    "conv128_down": (64, 128),
    **{f"conv128_{i}": (128, 128) for i in (1, 2)},
    "conv256_down": (128, 256),
    **{f"conv256_{i}": (256, 256) for i in (1, 2)},
    "conv256_down_out": (256, 256),
}
Arrays = dict[str, np.ndarray]


def convolution(arrays: Arrays, name: str, x: Tensor, stride: int, padding: int) -> Tensor:
    parts = ("weight", "scale", "bias")
    weight, scale, bias = (torch.from_numpy(arrays[f"{name}.{part}"].astype(np.float32)) for part in parts)
    return F.conv2d(x, weight * scale[:, None, None, None], bias, stride, padding)


def reference(arrays: Arrays, pixels: Tensor) -> Tensor:
    """RGB chips [K, 3, 150, 150], 0–255 → descriptors [K, 128]."""
    x = (pixels.float() - torch.tensor([122.782, 117.001, 104.298])[:, None, None]) / 256
    x = F.max_pool2d(F.relu(convolution(arrays, "conv32_down", x, 2, 0)), 3, 2)
    for name in BLOCKS:
        down = "down" in name
        y = F.relu(convolution(arrays, f"{name}.conv1", x, 2 if down else 1, 0 if down else 1))
        y = convolution(arrays, f"{name}.conv2", y, 1, 1)
        short = F.avg_pool2d(x, 2) if down else x
        summed = torch.zeros(len(x), y.shape[1], max(y.shape[2], short.shape[2]), max(y.shape[3], short.shape[3]))
        summed[:, :, : y.shape[2], : y.shape[3]] += y
        summed[:, : short.shape[1], : short.shape[2], : short.shape[3]] += short
        x = F.relu(summed)
    return x.mean(dim=(2, 3)) @ torch.from_numpy(arrays["fc.weight"].astype(np.float32)).T


def random_teacher(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    arrays: Arrays = {"fc.weight": rng.normal(0, 0.1, (128, 256)).astype(np.float32)}
    shapes = {"conv32_down": (32, 3, 7, 7)}
    for name, (width, out) in BLOCKS.items():
        shapes |= {f"{name}.conv1": (out, width, 3, 3), f"{name}.conv2": (out, out, 3, 3)}
    for name, shape in shapes.items():
        arrays[f"{name}.weight"] = rng.normal(0, 1, shape).astype(np.float16)
        arrays[f"{name}.scale"] = (rng.uniform(0.3, 0.9, shape[0]) / np.prod(shape[1:]) ** 0.5).astype(np.float32)
        arrays[f"{name}.bias"] = rng.normal(0, 0.1, shape[0]).astype(np.float32)
    return arrays


@pytest.fixture(scope="module")
def arrays():
    return random_teacher()


@pytest.fixture(scope="module")
def fake(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("teacher") / "teacher.npz"
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def network():
    return AllInOne(PRESETS["residual"]).eval()


@pytest.fixture(scope="module")
def chips():
    return torch.randint(0, 256, (4, 3, 150, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def compare(network: AllInOne, path: Path, chips: Tensor) -> None:
    with np.load(path) as file:
        expected = reference(dict(file), chips)
    load_teacher(network, path)
    found = network(chips, ["embedding"])["embedding"]
    assert found.shape == (len(chips), 128)
    torch.testing.assert_close(found, expected, atol=float(expected.abs().max()) * 1e-4, rtol=1e-3)


def test_the_descriptor_is_the_teachers(network, fake, chips):
    compare(network, fake, chips)


def test_the_descriptor_is_the_real_teachers(network, chips):
    path = shared_dir() / "data" / "teacher" / "dlib_resnet.npz"
    if not path.is_file():
        pytest.skip("the teacher is not here")
    compare(network, path, chips)


@torch.inference_mode()
def test_cosines_of_the_512_are_near_the_teachers(network, fake, chips):
    """The other 384 directions start small, so that the descriptor is worth as much as the teacher's from the start."""
    load_teacher(network, fake)
    outputs = network(chips, ["descriptor"])
    ours = F.normalize(outputs["descriptor"]) @ F.normalize(outputs["descriptor"]).T
    theirs = F.normalize(outputs["embedding"]) @ F.normalize(outputs["embedding"]).T
    torch.testing.assert_close(ours, theirs, atol=0.1, rtol=0)


def test_a_missing_array_is_named(network, arrays, tmp_path):
    for name in ("fc.weight", "conv32_down.scale", "conv128_2.conv1.weight", "conv256_down_out.conv2.bias"):
        np.savez(tmp_path / "teacher.npz", **{key: value for key, value in arrays.items() if key != name})
        with pytest.raises(ValueError, match=f"lacks {re.escape(name)}"):
            load_teacher(network, tmp_path / "teacher.npz")


def test_an_array_of_another_shape(network, arrays, tmp_path):
    np.savez(tmp_path / "teacher.npz", **arrays | {"conv64_1.conv1.weight": arrays["conv64_1.conv1.weight"][:, :32]})
    with pytest.raises(ValueError, match="does not fit"):
        load_teacher(network, tmp_path / "teacher.npz")


def test_no_file(network, tmp_path):
    with pytest.raises(FileNotFoundError):
        load_teacher(network, tmp_path / "teacher.npz")


@pytest.mark.parametrize("preset", ["paper", "hyperface"])
def test_only_the_residual_network_can_start_so(fake, preset):
    with torch.device("meta"):
        network = AllInOne(PRESETS[preset])
    with pytest.raises(ValueError, match="only a residual network"):
        load_teacher(network, fake)


def test_what_it_makes_of_an_analysed_photo(tmp_path):
    """Chip and mirror at unit length, as ours; nothing where no face was found."""
    photo = np.ascontiguousarray(skimage.data.astronaut()[:200, 130:330])
    cv2.imwrite(str(tmp_path / "a.png"), photo[:, :, ::-1])
    np.savez(tmp_path / "teacher.npz", **random_teacher())
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 110 + torch.tensor([40.0, 60.0])
    one = {name: np.zeros((1, *shape)) for name, shape in SHAPES.items()} | {"landmarks": points.numpy()}
    sample = Sample("drawn", "a.png", tmp_path / "a.png", "test")
    seen = [Analyzed(sample, found, 200, 200) for found in (Faces(**one), Faces.empty())]
    rows = celeba.teach(seen, tmp_path / "teacher.npz")
    chip = geometry.crop([photo], torch.zeros(1, dtype=torch.int64), geometry.alignment_matrices(points, 150), 150)
    views = F.normalize(reference(random_teacher(), torch.cat([chip, chip.flip(3)])), dim=1)
    torch.testing.assert_close(torch.from_numpy(rows[0]).float(), F.normalize(views.sum(0), dim=0), atol=1e-3, rtol=0)
    assert not rows[1].any()
