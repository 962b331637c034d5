"""Faces at any angle: how a roll over the whole circle is learnt, read, averaged and drawn from photos."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from model import geometry, mobile, tasks
from model.datasets.harm import HARMS, harm
from model.datasets.regions import Hardships, Regions
from model.network import AllInOne
from model.presets import PRESETS
from model.runtime.detections import median_pose
from model.training.validate import validate
from tests.model.conftest import POSE, SIZE, assert_dots

pytestmark = pytest.mark.slow


def circle(degrees: list[float]) -> torch.Tensor:
    """Outputs of a pose head [K, 4] that say these rolls, pitch 0.1 and yaw -0.2 radians."""
    angles = torch.deg2rad(torch.tensor(degrees))
    rest = torch.tensor([0.1, -0.2]).expand(len(degrees), 2)
    return torch.cat([angles.sin()[:, None], angles.cos()[:, None], rest], dim=1)


def test_a_roll_of_sine_and_cosine_is_read_in_degrees():
    read = tasks.read_pose(circle([0.0, 90.0, -90.0, 179.0, -179.0]) * torch.tensor([3.0, 3.0, 1.0, 1.0]))
    torch.testing.assert_close(read[:, 0], torch.tensor([0.0, 90.0, -90.0, 179.0, -179.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(read[:, 1:], torch.rad2deg(torch.tensor([[0.1, -0.2]])).expand(5, 2))


def test_the_loss_has_no_seam_at_the_lower_end_of_the_circle():
    """Two degrees across ±180° cost what two degrees at 0° do, and the truth costs nothing."""
    labels = torch.deg2rad(torch.tensor([[-179.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    labels[:, 1:] = torch.tensor([0.1, -0.2])
    across, beside = (tasks.pose_loss(circle([a]), labels[[i]]) for i, a in enumerate((179.0, -1.0)))
    torch.testing.assert_close(across, beside)
    assert across.item() == pytest.approx(2 * (1 - np.cos(np.deg2rad(2))) / 4, rel=1e-3)
    assert tasks.pose_loss(circle([-179.0, 1.0]), labels).item() == pytest.approx(0, abs=1e-10)


def test_unlabelled_poses_cost_nothing():
    labels = torch.full((2, 3), torch.nan)
    assert tasks.pose_loss(circle([30.0, 40.0]), labels).item() == 0
    labels[0] = torch.tensor([0.0, 0.1, -0.2])
    assert tasks.pose_loss(circle([90.0, 40.0]), labels).item() == pytest.approx(2 / 4, rel=1e-5)


def test_the_median_of_rolls_does_not_cross_the_circle():
    poses = np.array([[178.0, 1, 5], [-178.0, 2, 6], [-170.0, 3, 7]])
    np.testing.assert_allclose(median_pose(poses, poses[0]), [-178.0, 2, 6])
    np.testing.assert_allclose(abs(median_pose(poses[:2], poses[0])[0]), 180.0)
    upright = np.array([[3.0, 1, 5], [-1.0, 2, 6], [2.0, 3, 7]])
    np.testing.assert_allclose(median_pose(upright, upright[0]), [2.0, 2, 6])


@pytest.mark.parametrize("angle", [-170.0, -90.0, 45.0, 90.0, 180.0])
def test_a_turned_photo_turns_landmarks_and_roll_and_has_the_turned_box(drawn, angle):
    faces, empty, store = drawn
    regions = Regions(faces, empty, store, SIZE)
    batch, upright = regions.exact([1], [angle]), regions.exact([1])
    pixels = (batch["landmarks"][0].numpy() / geometry.REGION_SCALE + 0.5) * SIZE
    assert_dots(batch["crops"][0], pixels, mirrored=False)
    box = geometry.box_from_landmarks(batch["landmarks"])[0]
    torch.testing.assert_close(box, torch.tensor([-0.5, -0.5, 0.5, 0.5]), atol=1e-4, rtol=0)
    assert batch["detection"].tolist() == [1.0]
    roll, pitch, yaw = torch.rad2deg(batch["pose"][0]).tolist()
    assert (roll - POSE[0] - angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
    assert (pitch, yaw) == pytest.approx((POSE[1], POSE[2]), abs=1e-3)
    # The eyes turn with the photo, clockwise for a positive angle.
    (x, y), (u, v) = ((b["landmarks"][0, 11] - b["landmarks"][0, 6]).tolist() for b in (batch, upright))
    turned = np.rad2deg(np.arctan2(y, x) - np.arctan2(v, u))
    assert (turned - angle + 180) % 360 - 180 == pytest.approx(0, abs=0.1)


def test_the_share_of_turned_regions_is_what_was_asked_for(drawn):
    faces, empty, store = drawn
    batch = Regions(faces, empty, store, SIZE, negatives=0.0, hardships=Hardships(turned=0.5)).batch(
        400, np.random.default_rng(0)
    )
    rolls = torch.rad2deg(batch["pose"][:, 0])
    assert rolls.abs().max().item() <= 180
    # Half lie anywhere on the circle: of those two thirds beyond 60°, and few of the others.
    assert (rolls.abs() > 60).float().mean().item() == pytest.approx(0.36, abs=0.07)


def test_covered_regions_hide_points_of_their_own_draw_only(drawn):
    """The labels of the samples stay as they were, however often they are drawn."""
    faces, empty, store = drawn
    regions = Regions(faces, empty, store, SIZE, negatives=0.0, hardships=Hardships(covered=1.0))
    before = [np.array(s.visibility) for s in regions.samples]
    batch = regions.batch(100, np.random.default_rng(0))
    assert (batch["visibility"] == 0).float().mean().item() > 0.15
    hidden = batch["visibility"] == 0
    torch.testing.assert_close(batch["landmark_weight"][hidden], torch.full((int(hidden.sum()),), 0.1))
    for sample, visibility in zip(regions.samples, before, strict=True):
        np.testing.assert_array_equal(np.array(sample.visibility), visibility)


@pytest.mark.parametrize("kind", sorted(HARMS))
def test_harms_do_what_their_names_say(kind):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (96, 96, 3)).astype(np.uint8)
    harmed = HARMS[kind](photo, rng)
    assert (harmed.shape, harmed.dtype) == ((96, 96, 3), np.uint8)
    if kind == "dark":
        assert harmed.mean() < 0.7 * photo.mean()
    else:  # fine grain goes, the mean light stays
        before, after = (np.abs(np.diff(image.astype(int), axis=1)).mean() for image in (photo, harmed))
        assert after < 0.8 * before
        assert harmed.mean() == pytest.approx(photo.mean(), rel=0.1)


def test_harms_follow_their_generator_and_leave_the_photo_alone():
    photo = np.random.default_rng(1).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    kept = photo.copy()
    first, again = (harm(photo, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(photo, kept)
    assert not np.array_equal(first, photo)


def test_fixed_slopes_have_the_gradient_of_a_prelu():
    x = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    slopes = mobile.Slopes(5)
    with torch.no_grad():
        slopes.weight.copy_(torch.linspace(-0.5, 0.9, 5))
    pull = torch.arange(90.0).view_as(x)
    y = slopes(x)
    torch.testing.assert_close(y, F.prelu(x, slopes.weight))
    y.backward(pull)
    expected = torch.autograd.grad(F.prelu(x, slopes.weight), x, pull)[0]
    torch.testing.assert_close(x.grad, expected)
    assert slopes.weight.grad is None


def test_a_mobile_network_learns_but_for_its_slopes():
    network = AllInOne(PRESETS["mobile"])
    fixed = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert fixed
    assert all(name.endswith("_prelu.weight") for name in fixed)
    assert {name.split(".")[0] for name in fixed} == {"stages", "deep_stages"}


def test_openvino_gives_the_frozen_stages_maps():
    pytest.importorskip("openvino")
    from model.training.frozen import FrozenTrunk  # noqa: PLC0415 - needs OpenVINO

    network = AllInOne(PRESETS["mobile"]).eval()
    crops = torch.randint(0, 256, (3, 3, 112, 112), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for wanted, depth in ((["landmarks"], 5), (["age", "smile"], 3)):
        maps = FrozenTrunk(network, wanted, threads=1)(crops)
        with torch.no_grad():
            expected = network.trunk(crops, depth)
        assert len(maps) == depth
        for index, (found, exact) in enumerate(zip(maps, expected, strict=True)):
            if found.numel():  # bfloat16 keeps three digits
                assert (found - exact).norm().item() < 0.03 * exact.norm().item()
            else:
                assert index not in (depth - 1, *((0, 2) if depth == 5 else ()))


def test_validation_of_some_tasks_passes_over_batches_without_their_labels():
    class Answers(torch.nn.Module):
        """Says 30 years to every crop, and remembers what it was asked."""

        def __init__(self) -> None:
            super().__init__()
            self.asked: list[set[str]] = []

        def forward(self, crops: torch.Tensor, wanted: set[str]) -> dict[str, torch.Tensor]:
            self.asked.append(wanted)
            return {"age": torch.full((len(crops), 1), (30 - tasks.AGE_CENTRE) / tasks.AGE_SCALE)}

    crops = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    batches = {
        "utkface": [{"crops": crops, "age": torch.tensor([20.0, 32.0])}],
        "regions": [{"crops": crops, "pose": torch.zeros(2, 3)}],
    }
    network = Answers()
    figures = validate(network, batches, "cpu", "float32", ["age"])
    assert figures == {"utkface_age_mae": pytest.approx(6.0)}
    assert network.asked == [{"age"}]
