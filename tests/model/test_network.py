"""The three presets against figures worked out by hand from the paper's table."""

import pytest
import torch
from torch import nn

from model.network import AllInOne
from model.presets import PRESETS, NetworkConfig
from model.tasks import TASKS
from tests.conftest import TINY

SUBJECTS = 10_548

PAPER_SHAPES = {
    "stages.0.0": (96, 55, 55),  # conv1
    "stages.0": (96, 55, 55),  # tap 1
    "stages.1.0": (96, 27, 27),  # pool1
    "stages.1.1": (256, 27, 27),  # conv2
    "stages.2.0": (256, 13, 13),  # pool2
    "stages.2.1": (384, 13, 13),  # conv3
    "stages.2": (384, 13, 13),  # tap 3
    "stages.3.0": (384, 13, 13),  # conv4
    "stages.4.0": (384, 13, 13),  # conv5
    "stages.4": (384, 13, 13),  # tap 5
    "stages.5.0": (512, 13, 13),  # conv6
    "stages.6.0": (512, 13, 13),  # conv7
    "identity.pool.0": (512, 6, 6),  # pool7
    "identity.fc6": (1024,),
    "identity.fc7": (512,),
    "local.pool1": (96, 27, 27),
    "local.conv1a": (256, 6, 6),
    "local.conv3a": (256, 6, 6),
    "local.pool5": (384, 6, 6),
    "local.fuse": (256, 6, 6),
    "local.fc": (2048,),
    "local_heads.detection.0": (512,),
    "local_heads.detection": (2,),
    "local_heads.landmarks.0": (512,),
    "local_heads.landmarks": (42,),
    "local_heads.visibility.0": (512,),
    "local_heads.visibility": (21,),
    "local_heads.pose.0": (512,),
    "local_heads.pose": (3,),
    "local_heads.smile.0": (512,),
    "local_heads.smile": (2,),
    "pool6": (512, 6, 6),
    "deep_heads.gender.1": (1024,),
    "deep_heads.gender.3": (128,),
    "deep_heads.gender": (2,),
    "deep_heads.age.1": (1024,),
    "deep_heads.age.3": (128,),
    "deep_heads.age": (1,),
}

CONVOLUTIONS = [  # kernel area × inputs × outputs, outputs, positions
    (34_848, 96, 3025),  # conv1: 11 × 11 × 3 × 96, 55 × 55
    (614_400, 256, 729),  # conv2: 5 × 5 × 96 × 256, 27 × 27
    (884_736, 384, 169),  # conv3: 3 × 3 × 256 × 384, 13 × 13
    (1_327_104, 384, 169),  # conv4: 3 × 3 × 384 × 384
]
PAPER_LAYERS = [
    *CONVOLUTIONS,
    (1_327_104, 384, 169),  # conv5
    (1_769_472, 512, 169),  # conv6: 3 × 3 × 384 × 512
    (2_359_296, 512, 169),  # conv7: 3 × 3 × 512 × 512
    (393_216, 256, 36),  # conv1a: 4 × 4 × 96 × 256, 6 × 6
    (393_216, 256, 36),  # conv3a: 2 × 2 × 384 × 256
    (229_376, 256, 36),  # fuse: 896 × 256
    (18_874_368, 2048, 1),  # fc: 9216 × 2048
    *[(1_048_576, 512, 1)] * 5,  # 2048 × 512 a task
    (1_024, 2, 1),  # detection
    (21_504, 42, 1),  # landmarks
    (10_752, 21, 1),  # visibility
    (1_536, 3, 1),  # pose
    (1_024, 2, 1),  # smile
    *[(18_874_368, 1024, 1), (131_072, 128, 1)] * 2,  # gender, age: 18,432 × 1024, 1024 × 128
    (256, 2, 1),
    (128, 1, 1),
    (18_874_368, 1024, 1),  # fc6: 18,432 × 1024
    (524_288, 512, 1),  # fc7: 1024 × 512
    (65_536, 0, 1),  # the distilled embedding, no bias: 512 × 128
    (5_400_576, 0, 1),  # fc8, no bias: 512 × 10,548
]
PAPER_PRELUS = 7 + 4 + 5 + 4 + 1  # one slope each: convolutions, local branch, local heads, deep heads, fc6

HYPERFACE_LAYERS = [
    *CONVOLUTIONS,
    (884_736, 256, 169),  # conv5: 3 × 3 × 384 × 256
    (393_216, 256, 36),  # conv1a
    (393_216, 256, 36),  # conv3a
    (147_456, 192, 36),  # fuse: 768 × 192
    (21_233_664, 3072, 1),  # fc: 6912 × 3072
    *[(1_572_864, 512, 1)] * 5,  # 3072 × 512 a task
    (1_024, 2, 1),
    (21_504, 42, 1),
    (10_752, 21, 1),
    (1_536, 3, 1),
    (1_024, 2, 1),  # gender
]
HYPERFACE_PRELUS = 5 + 4 + 5


def on_paper(preset: str, subjects: int = 0) -> tuple[AllInOne, dict[str, tuple[int, ...]], int]:
    """The network without memory, the output shape of every layer, and the multiply-adds of one crop."""
    config = PRESETS[preset]
    with torch.device("meta"):
        network = AllInOne(NetworkConfig(**{**vars(config), "subjects": subjects}))
    shapes, multiplied = {}, 0

    def hook(name: str):
        def record(module: nn.Module, inputs: tuple, output: object) -> None:
            nonlocal multiplied
            if isinstance(output, torch.Tensor):
                shapes[name] = tuple(output.shape[1:])
            if isinstance(module, nn.Conv2d):
                multiplied += module.weight.numel() * output.shape[2] * output.shape[3]
            elif isinstance(module, nn.Linear):
                multiplied += module.weight.numel()

        return record

    for name, module in network.named_modules():
        module.register_forward_hook(hook(name))
    network(torch.zeros(1, 3, config.input_size, config.input_size, device="meta"))
    return network, shapes, multiplied


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_paper_is_the_papers_table():
    network, shapes, multiplied = on_paper("paper", SUBJECTS)
    assert {name: shapes[name] for name in PAPER_SHAPES} == PAPER_SHAPES
    weights = sum(weight + bias for weight, bias, _ in PAPER_LAYERS)
    assert parameters(network) == weights + PAPER_PRELUS == 96_373_726
    # fc8 is a cosine and no layer with a hook: its multiply-adds are the table's last entry.
    assert multiplied + 5_400_576 == sum(weight * places for weight, _, places in PAPER_LAYERS)
    assert multiplied == pytest.approx(1.9e9, rel=0.05)
    assert parameters(network) - 5_400_576 == pytest.approx(90e6, rel=0.02)
    assert not any(isinstance(module, nn.ReLU) for module in network.modules())


def test_three_quarters_of_the_papers_parameters_are_in_four_layers():
    network, _, _ = on_paper("paper")
    wide = [m.weight.numel() for m in network.modules() if isinstance(m, nn.Linear) and m.weight.numel() > 18e6]
    assert wide == [18_874_368] * 4
    assert 0.75 < sum(wide) / parameters(network) < 0.9


def test_hyperface():
    network, shapes, multiplied = on_paper("hyperface")
    assert parameters(network) == sum(weight + bias for weight, bias, _ in HYPERFACE_LAYERS) + HYPERFACE_PRELUS
    assert multiplied == sum(weight * places for weight, _, places in HYPERFACE_LAYERS)
    assert shapes["stages.4"] == (256, 13, 13)
    assert shapes["local.fuse"] == (192, 6, 6)
    assert shapes["local.fc"] == (3072,)
    assert len(network.stages) == 5
    assert network.identity is None
    assert set(network.local_heads) == {"detection", "landmarks", "visibility", "pose", "gender"}
    assert not network.deep_heads


def test_residual_is_small_enough():
    network, shapes, multiplied = on_paper("residual")
    assert multiplied <= 0.8e9
    assert 2 * parameters(network) <= 50e6  # bytes in half precision
    sides = [(32, 35), (64, 17), (64, 17), (128, 8), (128, 8), (256, 4), (256, 2)]
    assert [shapes[f"stages.{i}"] for i in range(7)] == [(c, s, s) for c, s in sides]
    assert shapes["identity.fc7"] == (512,)
    assert shapes["identity.embedding"] == (128,)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_taps_are_stages_1_3_and_5(preset):
    config = PRESETS[preset]
    with torch.device("meta"):
        network = AllInOne(config)
    made: list[object] = []
    seen: list[object] = []
    for stage in network.stages:
        stage.register_forward_hook(lambda _, __, output: made.append(output))
    network.local.register_forward_hook(lambda _, inputs, __: seen.extend(inputs))
    network(torch.zeros(1, 3, config.input_size, config.input_size, device="meta"))
    assert [next(i for i, m in enumerate(made) if m is tap) for tap in seen] == [0, 2, 4]


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return AllInOne(NetworkConfig(**{**vars(TINY), "subjects": 11})).eval()


def test_the_deep_branches_start_as_the_trunk_and_go_their_way(tiny, crops):
    """Forked stages give what the trunk's give; moved, they leave identity and the local tasks alone."""
    forked, shared = (AllInOne(NetworkConfig(**{**vars(TINY), "deep_stages": own})).eval() for own in (3, 0))
    state = shared.state_dict()
    forked.load_state_dict({name: state.get(name, tensor) for name, tensor in forked.state_dict().items()})
    forked.fork()
    before = forked(crops)
    assert all(torch.equal(value, shared(crops)[name]) for name, value in before.items())
    with torch.no_grad():
        forked.deep_stages[0].conv1.weight.mul_(2)
    after = forked(crops)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"age", "gender", "smile"}


@pytest.fixture(scope="module")
def crops():
    return torch.randint(0, 256, (3, 3, 150, 150), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("wanted", "stages"),
    [
        (["detection"], 5),
        (["detection", "landmarks", "visibility", "pose"], 5),
        (["age"], 6),
        (["gender", "detection"], 6),
        (["descriptor"], 7),
        (["embedding", "smile"], 7),
    ],
)
@pytest.mark.parametrize("own", [0, 1, 3])
def test_only_the_stages_that_are_needed_run(crops, wanted, stages, own):
    network = AllInOne(NetworkConfig(**{**vars(TINY), "deep_stages": own})).eval()
    ran: list[str] = []
    for name, stage in [*network.stages.named_children(), *network.deep_stages.named_children()]:
        kind = "" if any(stage is shared for shared in network.stages) else "own "
        stage.register_forward_hook(lambda *_, name=kind + name: ran.append(name))
    outputs = network(crops, wanted)
    deep = bool({"age", "gender", "smile"} & set(wanted))
    # Stages that the deep branches have of their own are not run in the trunk, unless another task wants them.
    shared = {6: 5 if "detection" in wanted else 6 - own}.get(stages, stages) if own else stages
    assert ran == [str(i) for i in range(shared)] + [f"own {i}" for i in range(own) if deep]
    assert set(wanted) <= set(outputs)


@torch.inference_mode()
@pytest.mark.parametrize("wanted", [["pose"], ["smile", "age"], ["descriptor"], ["identity", "gender"]])
def test_a_part_is_what_the_whole_gives(tiny, crops, wanted):
    whole, part = tiny(crops), tiny(crops, wanted)
    assert set(part) - set(wanted) <= {"descriptor", "embedding", "identity"}
    for name in wanted:
        assert torch.equal(part[name], whole[name])


@torch.inference_mode()
def test_widths_of_the_outputs(tiny, crops):
    outputs = tiny(crops)
    widths = {name: tuple(value.shape) for name, value in outputs.items()}
    expected = {name: (3, task.outputs) for name, task in TASKS.items() if name != "identity"}
    assert widths == {**expected, "identity": (3, 11), "descriptor": (3, 512)}


@torch.inference_mode()
def test_bytes_and_floats_are_the_same_pixels(tiny, crops):
    assert torch.equal(tiny(crops)["descriptor"], tiny(crops.float())["descriptor"])


@torch.inference_mode()
def test_fc8_speaks_cosines(tiny, crops):
    outputs = tiny(crops)
    unit = outputs["descriptor"] / outputs["descriptor"].norm(dim=1, keepdim=True)
    subjects = tiny.identity.fc8.weight / tiny.identity.fc8.weight.norm(dim=1, keepdim=True)
    torch.testing.assert_close(outputs["identity"], unit @ subjects.T, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_without_subjects_there_is_no_fc8(crops):
    network = AllInOne(TINY)
    assert network.identity.fc8 is None
    assert "identity" not in network(crops)


@torch.inference_mode()
def test_bfloat16_is_close(tiny, crops):
    full = tiny(crops)
    half = AllInOne(tiny.config)
    half.load_state_dict(tiny.state_dict())
    half.bfloat16().eval()
    for name, value in half(crops).items():
        assert value.dtype == torch.bfloat16
        torch.testing.assert_close(value.float(), full[name], atol=0.1, rtol=0.1)


def test_no_crops():
    assert AllInOne(TINY)(torch.zeros(0, 3, 150, 150), ["detection"])["detection"].shape == (0, 2)


def test_every_parameter_is_either_shared_or_its_own(tiny):
    shared = {id(p) for p in tiny.shared_parameters()}
    names = {name for name, p in tiny.named_parameters() if id(p) in shared}
    assert all(name.startswith(("stages.", "deep_stages.", "identity.fc7", "identity.embedding")) for name in names)
    assert {name for name, _ in tiny.named_parameters() if "stages." in name} <= names
    assert "identity.fc8.weight" not in names
