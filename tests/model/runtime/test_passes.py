"""The second pass: what of it the mirror image takes part in, whatever the network's topology."""

from dataclasses import replace

import pytest
import torch

from model.network import PRESETS, AllInOne, NetworkConfig
from model.runtime import passes
from model.runtime.engines.protocol import ATTRIBUTES, DESCRIBE
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
