"""Second readings of age, gender, smile and pose: how they are mixed in, what they leave alone, what a file holds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import checkpoint
from model.network import AllInOne
from model.shared_heads import PART, SHARES, SharedHeads, features, mixed
from tests.conftest import TINY

CONFIG = replace(TINY, ages=101)


@pytest.fixture
def crops() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, CONFIG.input_size, CONFIG.input_size), dtype=torch.uint8)


@pytest.fixture
def heads() -> SharedHeads:
    return SharedHeads(512 + 4 * CONFIG.channels[5], CONFIG.ages, CONFIG.channels[4:6]).eval()


def test_chances_are_mixed_by_share():
    own, second = torch.tensor([[0.0, 2.0, -1.0]]), torch.tensor([[3.0, 0.0, 0.0]])
    assert torch.allclose(mixed(own, second, 0.0).softmax(1), own.softmax(1))
    assert torch.allclose(mixed(own, second, 1.0).softmax(1), second.softmax(1))
    expected = 0.75 * own.softmax(1) + 0.25 * second.softmax(1)
    assert torch.allclose(mixed(own, second, 0.25).softmax(1), expected, atol=1e-6)
    assert torch.isfinite(mixed(torch.tensor([[-1e4, 1e4]]), torch.tensor([[-1e4, 1e4]]), 0.5)).all()


def test_features_do_not_depend_on_the_descriptors_length():
    maps, descriptors = torch.rand(2, 8, 7, 7), torch.rand(2, 512)
    assert torch.allclose(features(maps, descriptors), features(maps, 9 * descriptors), atol=1e-5)
    assert features(maps, descriptors).shape == (2, 512 + 8 * 4)


def test_attributes_are_the_mean_of_both_readings_and_the_rest_stays(crops: torch.Tensor, heads: SharedHeads):
    network = AllInOne(CONFIG).eval()
    with torch.inference_mode():
        alone = network(crops)
        maps = network.trunk(crops, 7)
        second = heads(maps[4], maps[5], alone["descriptor"])
        assert network.second_readings(maps, ("pose",)) == {}
        network.shared_heads = heads
        both = network(crops)
        asked_alone = network(crops, ["age"])
        pose = network.second_readings(maps, ("pose",))
    assert set(second) == {*SHARES, "pose"}
    torch.testing.assert_close(pose, {"pose": second["pose"]})
    assert second["pose"].shape == (3, 3)
    for name, share in SHARES.items():
        expected = (1 - share) * alone[name].softmax(1) + share * second[name].softmax(1)
        torch.testing.assert_close(both[name].softmax(1), expected, atol=1e-5, rtol=0)
    assert all(torch.equal(both[name], alone[name]) for name in alone if name not in SHARES)
    torch.testing.assert_close(asked_alone["age"], both["age"], atol=1e-5, rtol=1e-5)


def test_age_and_gender_have_two_heads_that_count_alike(heads: SharedHeads):
    maps = torch.rand(3, CONFIG.channels[4], 14, 14), torch.rand(3, CONFIG.channels[5], 7, 7)
    descriptors = torch.rand(3, 512)
    with torch.inference_mode():
        outputs = heads(*maps, descriptors)
        of_features, of_maps = heads.read_features(maps[1], descriptors), heads.stage6(maps[1])
    assert set(of_maps) == {"age", "gender"}
    for name, of_map in of_maps.items():
        expected = (of_features[name].softmax(1) + of_map.softmax(1)) / 2
        torch.testing.assert_close(outputs[name].softmax(1), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs["smile"], heads.stage5(maps[0])["smile"])
    assert set(heads(*maps, descriptors, ("smile",))) == {"smile"}
    assert set(heads(*maps, descriptors, ("pose", "age"))) == {"pose", "age"}


def test_half_precision_reads_twice_too(crops: torch.Tensor, heads: SharedHeads):
    network = AllInOne(CONFIG).eval()
    network.shared_heads = heads
    with torch.inference_mode():
        exact = network(crops, ["age"])["age"].softmax(1)
        half = network.to(torch.bfloat16)(crops, ["age"])["age"].softmax(1)
    torch.testing.assert_close(half, exact, atol=0.02, rtol=0)


def test_a_checkpoint_brings_them_as_a_part_of_their_own(tmp_path: Path, heads: SharedHeads):
    network = AllInOne(CONFIG)
    parts = {"network": checkpoint.inference_state(network), PART: heads.state_dict()}
    config = {"network": checkpoint.network_config(network)}
    path = tmp_path / "twice.safetensors"
    checkpoint.save(path, parts, config)
    loaded = checkpoint.build_network(checkpoint.load(path))
    assert loaded.shared_heads is not None
    torch.testing.assert_close(
        loaded.shared_heads.heads["age"][1].weight, heads.heads["age"][1].weight, atol=1e-3, rtol=1e-3
    )
    assert set(checkpoint.inference_state(loaded)) == set(parts["network"])
    checkpoint.save(path, parts | {PART: {**heads.state_dict(), "heads.age.1.weight": torch.zeros(2, 2)}}, config)
    with pytest.raises(checkpoint.CheckpointError, match="do not fit"):
        checkpoint.build_network(checkpoint.load(path))
    checkpoint.save(path, parts | {PART: {"mean": torch.zeros(2)}}, config)
    with pytest.raises(checkpoint.CheckpointError, match="do not fit"):
        checkpoint.build_network(checkpoint.load(path))
