"""The second pass as a function of the network, whatever its topology: of chips, and of their mirror images."""

from dataclasses import replace

import pytest
import torch

from model.chip_geometry import GEOMETRY_SHARE, ChipGeometry
from model.network import AllInOne
from model.presets import PRESETS, NetworkConfig
from model.runtime import passes
from model.runtime.engines.protocol import (
    ATTRIBUTES,
    CHIP_LANDMARKS,
    CHIP_POSE,
    CHIP_VISIBILITY,
    DESCRIBE,
    GEOMETRY,
    SECOND,
)
from model.shared_heads import CELLS, SHARES, TASKS_READ, SharedHeads
from model.tasks import TASKS
from tests.conftest import TINY

SHARED = replace(TINY, deep_stages=0)
LOCAL_SMILE = replace(TINY, local=(*TINY.local, "smile"), deep=("gender", "age"))
MOBILE = PRESETS["mobile"]


@pytest.mark.parametrize("config", [TINY, SHARED, LOCAL_SMILE, MOBILE], ids=["own", "shared", "local", "mobile"])
def test_a_chip_s_outputs_are_the_network_s(config: NetworkConfig):
    torch.manual_seed(0)
    network = AllInOne(config).eval()
    chips = torch.randint(0, 256, (3, 3, config.input_size, config.input_size), dtype=torch.uint8)
    with torch.inference_mode():
        found, expected = passes.describe(network, chips), passes.read(network(chips, DESCRIBE))
        mirrored, alone = passes.mirror(network, chips), network(chips.flip(3), ["descriptor"])["descriptor"]
    assert set(found) == set(DESCRIBE)
    for name in DESCRIBE:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-4)
    assert set(mirrored) == {"descriptor"}
    torch.testing.assert_close(mirrored["descriptor"], alone, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found["descriptor"], alone, atol=1e-6, rtol=0)


def test_with_shared_heads_their_part_of_gender_and_smile_is_told():
    torch.manual_seed(0)
    network = AllInOne(MOBILE).eval()
    chips = torch.randint(0, 256, (3, 3, MOBILE.input_size, MOBILE.input_size), dtype=torch.uint8)
    channels = MOBILE.channels
    heads = SharedHeads(512 + CELLS**2 * channels[5], MOBILE.ages, channels[4:6]).eval()
    with torch.inference_mode():
        alone = network(chips, ATTRIBUTES)
        network.shared_heads = heads
        found, mirrored = passes.describe(network, chips), passes.mirror(network, chips)
        of_chip, of_mirror = (
            network.second_readings(network.trunk(view, 7), TASKS_READ) for view in (chips, chips.flip(3))
        )
    assert set(found) == {*DESCRIBE, CHIP_POSE, *SECOND.values()}
    assert set(mirrored) == {"descriptor", *SECOND.values()}
    torch.testing.assert_close(found[CHIP_POSE], of_chip["pose"], atol=1e-3, rtol=1e-3)
    network.chip_geometry = ChipGeometry((channels[2], channels[4])).eval()
    with torch.inference_mode():
        both = passes.describe(network, chips)[CHIP_POSE]
        maps = network.trunk(chips, 5)
        of_geometry = network.chip_geometry(maps[2], maps[4])["pose"]
    expected_pose = (1 - GEOMETRY_SHARE) * of_chip["pose"] + GEOMETRY_SHARE * of_geometry
    torch.testing.assert_close(both, expected_pose, atol=1e-3, rtol=1e-3)
    for name in ATTRIBUTES:
        chances = (1 - SHARES[name]) * alone[name].softmax(1) + SHARES[name] * of_chip[name].softmax(1)
        torch.testing.assert_close(found[name], TASKS[name].read(chances.log()), atol=1e-3, rtol=1e-3)
    for task, name in SECOND.items():
        for outputs, second in ((found, of_chip), (mirrored, of_mirror)):
            expected = SHARES[task] * TASKS[task].read(second[task])
            torch.testing.assert_close(outputs[name], expected, atol=1e-3, rtol=1e-3)


def test_with_heads_for_it_the_chip_s_landmarks_come_too():
    torch.manual_seed(0)
    network = AllInOne(MOBILE).eval()
    chips = torch.randint(0, 256, (3, 3, MOBILE.input_size, MOBILE.input_size), dtype=torch.uint8)
    with torch.inference_mode():
        without = passes.describe(network, chips)
        network.chip_geometry = ChipGeometry((MOBILE.channels[2], MOBILE.channels[4])).eval()
        found, maps = passes.describe(network, chips), network.trunk(chips, 5)
        expected = network.chip_geometry(maps[2], maps[4])
    assert set(found) == {*without, *GEOMETRY}
    torch.testing.assert_close(found[CHIP_LANDMARKS], expected["landmarks"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[CHIP_POSE], expected["pose"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found[CHIP_VISIBILITY], expected["visibility"], atol=1e-5, rtol=1e-5)
    for name, values in without.items():
        torch.testing.assert_close(found[name], values)
