"""Every loss by hand, what is unlabelled, and that a batch trains the heads it has labels for and no other."""

import math

import pytest
import torch

from model import tasks
from model.network import AllInOne
from model.presets import NetworkConfig
from model.tasks import LossConfig
from model.training.loop import Run
from model.training.recipe import Recipe
from tests.conftest import TINY

NAN = float("nan")


def years(*values: float) -> torch.Tensor:
    """The age head's outputs for these years."""
    return (torch.tensor(values)[:, None] - tasks.AGE_CENTRE) / tasks.AGE_SCALE


# --- each loss ---


def test_class_loss_is_cross_entropy():
    logits = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    expected = (math.log(2) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(-3))) / 3
    assert tasks.class_loss(logits, torch.tensor([1.0, 1.0, 1.0])).item() == pytest.approx(expected)


def test_class_loss_skips_the_unlabelled():
    logits = torch.tensor([[0.0, 0.0], [50.0, 0.0]], requires_grad=True)
    loss = tasks.class_loss(logits, torch.tensor([0.0, NAN]))
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert logits.grad[1].abs().sum() == 0


def test_euclidean_landmarks_by_hand():
    target = torch.zeros(2, 21, 2)
    output = torch.zeros(2, 42)
    output[0, :2] = torch.tensor([0.3, 0.4])  # point 0 is off by (.3, .4)
    output[1, 2:4] = torch.tensor([0.6, 0.8])  # point 1 by (.6, .8)
    weight = torch.ones(2, 21)
    # HyperFace Eq. 2: Σ v (dx² + dy²) / 2N, mean over the crops.
    assert tasks.landmark_loss(output, target, weight).item() == pytest.approx((0.25 / 42 + 1.0 / 42) / 2)
    weight[1, 1] = 0
    assert tasks.landmark_loss(output, target, weight).item() == pytest.approx(0.25 / 42 / 2)
    weight[1, 1] = 0.5
    assert tasks.landmark_loss(output, target, weight).item() == pytest.approx((0.25 / 42 + 0.5 / 42) / 2)


@pytest.mark.parametrize("kind", ["euclidean", "wing"])
def test_unlabelled_points_and_crops_add_nothing(kind):
    torch.manual_seed(0)
    output, target, weight = torch.randn(3, 42), torch.randn(3, 21, 2), torch.rand(3, 21)
    target[1] = NAN
    alone = tasks.landmark_loss(output[[0, 2]], target[[0, 2]], weight[[0, 2]], kind)
    torch.testing.assert_close(tasks.landmark_loss(output, target, weight, kind), alone)
    target[0, 5] = NAN
    output.requires_grad_()
    tasks.landmark_loss(output, target, weight, kind).backward()
    assert output.grad.isfinite().all()
    assert not output.grad[1].any()
    assert not output.grad[0, 10:12].any()
    assert output.grad[0, :10].all()


def test_wing_by_hand_and_continuous():
    def wing(offset: float) -> float:
        output = torch.zeros(1, 42)
        output[0, 0] = offset
        return tasks.landmark_loss(output, torch.zeros(1, 21, 2), torch.ones(1, 21), "wing").item() * 21

    assert wing(0.05) == pytest.approx(0.1 * math.log(1 + 0.05 / 0.02), rel=1e-5)
    assert wing(0.5) == pytest.approx(0.5 - (0.1 - 0.1 * math.log(6)), rel=1e-5)
    assert wing(0.1 + 1e-5) == pytest.approx(wing(0.1 - 1e-5), abs=1e-4)
    assert wing(-0.5) == pytest.approx(wing(0.5))
    assert wing(0.0) == 0


def test_pose_and_visibility_by_hand():
    output = torch.tensor([[0.1, 0.2, 0.3], [1.0, 1.0, 1.0]])
    target = torch.tensor([[0.1, 0.0, 0.0], [NAN, NAN, NAN]])
    assert tasks.euclidean_loss(output, target).item() == pytest.approx((0.04 + 0.09) / 3)
    partly = torch.tensor([[0.1, 0.0, NAN], [NAN, 0.0, NAN]])
    assert tasks.euclidean_loss(output, partly).item() == pytest.approx((0 + 0.04 + 1) / 3)


def test_age_eq_6_at_both_ends():
    output, age = years(30, 44), torch.tensor([33.0, 40.0])
    gaussian = (2 - math.exp(-9 / 18) - math.exp(-16 / 18)) / 2
    euclidean = (0.5 * 9 + 0.5 * 16) / 2 / 9  # in units of σ² = 9
    assert tasks.age_loss(output, age, 1.0, 3.0).item() == pytest.approx(gaussian, rel=1e-4)
    assert tasks.age_loss(output, age, 0.0, 3.0).item() == pytest.approx(euclidean, rel=1e-4)
    assert tasks.age_loss(output, age, 0.25, 3.0).item() == pytest.approx(0.75 * euclidean + 0.25 * gaussian, rel=1e-4)
    masked = tasks.age_loss(years(30, 44, 7), torch.tensor([33.0, 40.0, NAN]), 1.0, 3.0)
    assert masked.item() == pytest.approx(gaussian, rel=1e-4)
    each = tasks.age_loss(output, age, 1.0, torch.tensor([3.0, 1.5]))
    assert each.item() == pytest.approx((2 - math.exp(-9 / 18) - math.exp(-16 / 4.5)) / 2, rel=1e-4)


def test_both_halves_of_eq_6_pull_alike_near_the_truth():
    pulls = []
    for weight in (0.0, 1.0):
        output = years(35.2).requires_grad_()
        tasks.age_loss(output, torch.tensor([35.0]), weight, 3.0).backward()
        pulls.append(output.grad.item())
    assert pulls[0] == pytest.approx(pulls[1], rel=0.01)


def test_identity_eq_7():
    cosines = torch.tensor([[0.5, 0.1, -0.2], [0.0, 0.9, 0.0]])
    e = [math.exp(10 * c) for c in (0.5, 0.1, -0.2)]
    expected = -math.log(e[0] / sum(e))
    assert tasks.identity_loss(cosines, torch.tensor([0, -1]), 10, 0).item() == pytest.approx(expected, rel=1e-5)
    e[0] = math.exp(10 * (0.5 - 0.2))
    expected = -math.log(e[0] / sum(e))
    assert tasks.identity_loss(cosines, torch.tensor([0, -1]), 10, 0.2).item() == pytest.approx(expected, rel=1e-5)


def test_embedding_is_one_minus_cosine():
    target = torch.tensor([[3.0, 4.0], [NAN, NAN], [-1.0, 0.0]])
    output = torch.tensor([[6.0, 8.0], [1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    loss = tasks.embedding_loss(output, target)
    assert loss.item() == pytest.approx((0 + 1 + math.sqrt(0.5)) / 2, abs=1e-6)
    loss.backward()
    assert output.grad.isfinite().all()
    assert not output.grad[1].any()


def test_a_batch_without_any_label_costs_nothing():
    unknown = torch.full((2,), NAN)
    assert tasks.class_loss(torch.randn(2, 2), unknown) == 0
    assert tasks.age_loss(torch.randn(2, 1), unknown, 0.5, 3.0) == 0
    assert tasks.landmark_loss(torch.randn(2, 42), torch.full((2, 21, 2), NAN), torch.ones(2, 21)) == 0
    assert tasks.euclidean_loss(torch.randn(2, 3), torch.full((2, 3), NAN)) == 0
    assert tasks.identity_loss(torch.rand(2, 5), torch.tensor([-1, -1]), 32, 0.1) == 0
    assert tasks.embedding_loss(torch.randn(2, 8), torch.full((2, 8), NAN)) == 0


# --- readings ---


def test_readings():
    torch.testing.assert_close(tasks.read_class(torch.tensor([[0.0, 0.0], [0.0, 2.0]])), torch.tensor([0.5, 0.880797]))
    torch.testing.assert_close(tasks.read_age(years(0, 35, 61.5)), torch.tensor([0, 35, 61.5]))
    torch.testing.assert_close(
        tasks.read_pose(torch.tensor([[math.pi / 6, 0, -1]])), torch.tensor([[30, 0, -57.29578]])
    )
    points = tasks.read_landmarks(torch.arange(42.0)[None])
    assert points.shape == (1, 21, 2)
    assert points[0, 3].tolist() == [6, 7]
    visibility = tasks.TASKS["visibility"].read(torch.tensor([[-0.5, 0.25, 1.5]]))
    assert visibility.tolist() == [[0, 0.25, 1]]


@pytest.mark.parametrize("name", tasks.TASKS)
def test_readings_are_float32(name):
    width = max(tasks.TASKS[name].outputs, 1)
    assert tasks.TASKS[name].read(torch.zeros(2, width, dtype=torch.bfloat16)).dtype == torch.float32


# --- the table and Eq. 8 ---


def test_hyperfaces_weights():
    weights = {name: task.weight for name, task in tasks.TASKS.items()}
    assert (weights["detection"], weights["landmarks"], weights["visibility"]) == (1, 5, 0.5)
    assert (weights["pose"], weights["gender"]) == (5, 2)


def test_eq_8_is_the_weighted_sum():
    parts = {"detection": torch.tensor(2.0), "landmarks": torch.tensor(3.0), "age": torch.tensor(0.5)}
    assert tasks.total(parts, {}).item() == 1 * 2 + 5 * 3 + 1 * 0.5
    assert tasks.total(parts, {"landmarks": 0.1, "age": 4.0}).item() == pytest.approx(1 * 2 + 0.1 * 3 + 4 * 0.5)


LABELS = {
    "detection": torch.tensor([1.0, 0.0, NAN]),
    "landmarks": torch.rand(3, 21, 2),
    "landmark_weight": torch.ones(3, 21),
    "visibility": torch.rand(3, 21),
    "pose": torch.rand(3, 3),
    "smile": torch.tensor([1.0, 0.0, 1.0]),
    "female": torch.tensor([0.0, 1.0, 1.0]),
    "age": torch.tensor([20.0, 30.0, NAN]),
    "subject": torch.tensor([0, 4, -1]),
    "embedding": torch.randn(3, 128),
}
SUBNETWORKS = {  # labels of a domain → prefixes of the heads they train
    ("detection", "landmarks", "landmark_weight", "visibility", "pose"): (
        "local.",
        "local_heads.detection",
        "local_heads.landmarks",
        "local_heads.visibility",
        "local_heads.pose",
    ),
    ("smile",): ("deep_stages.", "deep_heads.smile"),
    ("female", "age"): ("deep_stages.", "deep_heads.gender", "deep_heads.age"),
    ("age",): ("deep_stages.", "deep_heads.age"),
    ("subject",): ("stages.5.", "stages.6.", "identity.fc7", "identity.fc8"),
    ("embedding",): ("stages.5.", "stages.6.", "identity.fc7", "identity.embedding"),
}


@pytest.mark.parametrize("labels", SUBNETWORKS, ids="-".join)
def test_a_batch_trains_the_heads_it_has_labels_for(labels):
    torch.manual_seed(0)
    network = AllInOne(NetworkConfig(**{**vars(TINY), "subjects": 5}))
    run = Run(Recipe("tiny", {}, 100, precision="float32", warmup=0, weight_decay=0.1), network)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    crops = torch.randint(0, 256, (3, 3, 150, 150), dtype=torch.uint8)
    run.train_on([("drawn", {"crops": crops} | {name: LABELS[name] for name in labels})])
    trained = {name for name, p in network.named_parameters() if p.grad is not None}
    changed = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    below = 3 if "deep_stages." in SUBNETWORKS[labels] else 5
    prefixes = SUBNETWORKS[labels] + tuple(f"stages.{i}." for i in range(below))
    expected = {name for name in before if name.startswith(prefixes)}
    assert trained == expected
    assert changed <= expected
    assert {name for name in changed if "heads" in name} == {name for name in expected if "heads" in name}


def test_losses_are_those_with_output_and_label():
    outputs = {"age": years(20, 30, 40), "gender": torch.zeros(3, 2), "smile": torch.zeros(3, 2)}
    parts = tasks.losses(outputs, {"age": LABELS["age"], "detection": LABELS["detection"]}, LossConfig())
    assert set(parts) == {"age"}
    assert parts["age"].item() == pytest.approx(0, abs=1e-9)


# --- age as a distribution ---


def gaussian_logits(age: float, spread: float = tasks.AGE_SPREAD) -> torch.Tensor:
    return -0.5 * ((torch.arange(101.0) - age) / spread).square()[None]


@pytest.mark.parametrize("age", [9.0, 30.5, 77.25])
def test_a_distribution_reads_as_its_median(age):
    torch.testing.assert_close(tasks.read_age(gaussian_logits(age)), torch.tensor([age]), atol=0.01, rtol=0)


def test_the_median_resists_a_far_second_peak():
    two = torch.log(0.7 * gaussian_logits(30.0).softmax(1) + 0.3 * gaussian_logits(80.0).softmax(1))
    assert abs(tasks.read_age(two).item() - 30) < 2.5
    assert tasks.expected_age(two).item() == pytest.approx(45, abs=0.5)


@pytest.mark.parametrize("peak", [0, 50, 100])
def test_a_certain_distribution_reads_as_its_age(peak):
    logits = torch.full((1, 101), -60.0)
    logits[0, peak] = 60.0
    assert tasks.read_age(logits).item() == pytest.approx(peak, abs=0.5)


def test_the_distribution_loss_is_least_at_the_label_and_adds_to_eq_6():
    losses = [tasks.age_loss(gaussian_logits(age), torch.tensor([40.0]), 0.5, 5.0).item() for age in (30, 38, 40, 42)]
    assert losses[2] == min(losses)
    entropy = -(gaussian_logits(40.0).softmax(1) * gaussian_logits(40.0).log_softmax(1)).sum().item()
    assert losses[2] == pytest.approx(entropy, abs=1e-3)
    far = tasks.age_loss(gaussian_logits(100.0), torch.tensor([115.0]), 0.5, 5.0)
    assert torch.isfinite(far)


def test_a_distribution_without_labels_learns_nothing():
    logits = gaussian_logits(40.0).requires_grad_()
    tasks.age_loss(logits, torch.tensor([NAN]), 0.5, 5.0).backward()
    assert torch.equal(logits.grad, torch.zeros_like(logits))
