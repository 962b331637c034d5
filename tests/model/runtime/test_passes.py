"""The second pass: what of it the mirror image takes part in, whatever the network's topology."""

from dataclasses import replace

import pytest
import torch

from model.network import AllInOne
from model.presets import PRESETS, NetworkConfig
from model.runtime import passes
from model.runtime.engines.protocol import ATTRIBUTES, CHIP_POSE, DESCRIBE
from model.shared_heads import CELLS, SHARES, TASKS_READ, SharedHeads
from model.tasks import TASKS
from tests.conftest import TINY

SHARED = replace(TINY, deep_stages=0)
LOCAL_SMILE = replace(TINY, local=(*TINY.local, "smile"), deep=("gender", "age"))
MOBILE = PRESETS["mobile"]


@pytest.mark.parametrize("config", [TINY, SHARED, LOCAL_SMILE, MOBILE], ids=["own", "shared", "local", "mobile"])
def test_attributes_are_the_chip_s_and_descriptors_also_the_mirror_image_s(config: NetworkConfig):
    torch.manual_seed(0)
    network = AllInOne(config).eval()
    chips = torch.randint(0, 256, (3, 3, config.input_size, config.input_size), dtype=torch.uint8)
    with torch.inference_mode():
        found, mirrored = passes.describe(network, chips), passes.describe(network, chips.flip(3))
        expected = passes.read(network(chips, ATTRIBUTES))
    assert set(found) == set(DESCRIBE)
    for name in ATTRIBUTES:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(found[name], mirrored[name], atol=1e-6, rtol=0)
    torch.testing.assert_close(found["descriptor"], mirrored["descriptor"], atol=1e-5, rtol=0)
    torch.testing.assert_close(found["descriptor"].norm(dim=1), torch.ones(3))


def test_descriptors_alone_are_those_of_the_second_pass():
    torch.manual_seed(0)
    network = AllInOne(TINY).eval()
    chips = torch.randint(0, 256, (3, 3, TINY.input_size, TINY.input_size), dtype=torch.uint8)
    with torch.inference_mode():
        found = passes.describe(network, chips)["descriptor"]
        torch.testing.assert_close(passes.descriptors(network, chips), found, atol=1e-5, rtol=0)


def test_second_readings_of_gender_and_smile_are_also_the_mirror_image_s():
    torch.manual_seed(0)
    network = AllInOne(MOBILE).eval()
    chips = torch.randint(0, 256, (3, 3, MOBILE.input_size, MOBILE.input_size), dtype=torch.uint8)
    channels = MOBILE.channels
    heads = SharedHeads(512 + CELLS**2 * channels[5], MOBILE.ages, channels[4:6]).eval()
    with torch.inference_mode():
        alone = network(chips, ATTRIBUTES)
        network.shared_heads = heads
        found = passes.describe(network, chips)
        of_chip, of_mirror = (
            network.second_readings(network.trunk(view, 7), TASKS_READ) for view in (chips, chips.flip(3))
        )
    assert set(found) == {*DESCRIBE, CHIP_POSE}
    torch.testing.assert_close(found[CHIP_POSE], of_chip["pose"], atol=1e-3, rtol=1e-3)
    for name in ATTRIBUTES:
        second = of_chip[name].softmax(1)
        if name != "age":
            second = (second + of_mirror[name].softmax(1)) / 2
        chances = (1 - SHARES[name]) * alone[name].softmax(1) + SHARES[name] * second
        torch.testing.assert_close(found[name], TASKS[name].read(chances.log()), atol=1e-3, rtol=1e-3)
