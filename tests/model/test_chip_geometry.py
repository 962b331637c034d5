"""Heads for landmarks, visibility and pose of a chip: what they say, and how a checkpoint brings them."""

from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.chip_geometry import PART, POINT_UNIT, ChipGeometry
from model.network import AllInOne
from model.presets import PRESETS

MOBILE = PRESETS["mobile"]
CHANNELS = (MOBILE.channels[2], MOBILE.channels[4])


@pytest.fixture
def maps() -> tuple[torch.Tensor, torch.Tensor]:
    """Maps of stages 3 and 5 of four chips."""
    torch.manual_seed(0)
    return torch.randn(4, CHANNELS[0], 28, 28) * 3 + 1, torch.randn(4, CHANNELS[1], 14, 14) * 2 - 1


def test_what_they_say_starts_at_the_usual_places(maps):
    heads = ChipGeometry(CHANNELS).eval()
    landmarks = torch.rand(4, 21, 2)
    heads.standardise(*maps, landmarks)
    torch.testing.assert_close(heads.mean3.flatten(), maps[0].mean(dim=(0, 2, 3)))
    torch.testing.assert_close(heads.deviation5.flatten(), maps[1].std(dim=(0, 2, 3)) + 0.05)
    torch.nn.init.zeros_(heads.heads["landmarks"][-1].weight)
    torch.nn.init.constant_(heads.heads["landmarks"][-1].bias, 2.0)
    outputs = heads(*maps)
    usual = landmarks.median(dim=0).values
    torch.testing.assert_close(outputs["landmarks"], (usual + 2 * POINT_UNIT).expand(4, -1, -1))
    assert outputs["pose"].shape == (4, 3)
    assert outputs["visibility"].shape == (4, 21)
    assert ((outputs["visibility"] > 0) & (outputs["visibility"] < 1)).all()


def test_each_chip_is_read_for_itself(maps):
    heads = ChipGeometry(CHANNELS, width=8).eval()
    together = heads(*maps)
    for k in range(4):
        alone = heads(maps[0][k : k + 1], maps[1][k : k + 1])
        for name, values in alone.items():
            torch.testing.assert_close(values[0], together[name][k], atol=1e-5, rtol=1e-5)


def test_a_checkpoint_brings_them_as_a_part_of_their_own(tmp_path: Path):
    network = AllInOne(MOBILE)
    heads = ChipGeometry(CHANNELS, width=8)
    parts = {"network": checkpoint.inference_state(network), PART: heads.state_dict()}
    config = {"network": checkpoint.network_config(network)}
    path = tmp_path / "geometry.safetensors"
    checkpoint.save(path, parts, config)
    loaded = checkpoint.build_network(checkpoint.load(path))
    assert loaded.chip_geometry is not None
    torch.testing.assert_close(loaded.chip_geometry.halve[0].weight, heads.halve[0].weight, atol=1e-3, rtol=1e-3)
    assert set(checkpoint.inference_state(loaded)) == set(parts["network"])
    checkpoint.save(path, parts | {PART: {**heads.state_dict(), "places": torch.zeros(3, 2)}}, config)
    with pytest.raises(checkpoint.CheckpointError, match="do not fit"):
        checkpoint.build_network(checkpoint.load(path))
    checkpoint.save(path, parts | {PART: {"places": torch.zeros(21, 2)}}, config)
    with pytest.raises(checkpoint.CheckpointError, match="do not fit"):
        checkpoint.build_network(checkpoint.load(path))


def test_half_precision_says_nearly_the_same(maps):
    heads = ChipGeometry(CHANNELS).eval()
    exact = heads(*maps)["landmarks"]
    half = heads.to(torch.bfloat16)(*(m.to(torch.bfloat16) for m in maps))["landmarks"]
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, atol=0.02, rtol=0)
