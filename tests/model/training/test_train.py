"""Training: exact resume, the schedule, what stops it, what it leaves behind; on drawn faces and a tiny network."""

import csv
import dataclasses
import json
import math
import sys
from pathlib import Path

import cv2
import pytest
import torch

from model import checkpoint, landmarks, tasks
from model import train as training
from model.datasets.mixture import Data, MixtureConfig, load
from model.network import AllInOne
from model.presets import PRESETS, NetworkConfig
from model.training import loop
from model.training.loop import Run, build, train
from model.training.recipe import Recipe, read_recipe
from model.training.validate import score, validate
from tests.conftest import TINY

pytestmark = pytest.mark.slow

RECIPES = Path(training.__file__).parent / "training" / "recipes"
SHARES = {"utkface": 0.25, "celeba": 0.25, "mtfl": 0.25, "regions": 0.25}
RECIPE = Recipe("tiny", {}, steps=4, warmup=2, decay=2, age_switch=2, validate_every=4, lr=1e-2, shared_lr=1e-3)


@pytest.fixture(scope="module")
def data(world_folders) -> Data:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACE_CACHE_DIR", str(world_folders.cache))
        patch.setenv("FACE_SHARED_DIR", str(world_folders.shared))
        return load(MixtureConfig(SHARES, batch_size=3, seed=1, validation_size=4), 150)


def fresh(data: Data, recipe: Recipe = RECIPE) -> Run:
    torch.manual_seed(recipe.seed)
    return Run(recipe, AllInOne(NetworkConfig(**{**vars(TINY), "subjects": data.subjects})))


def assert_equal(first: object, second: object, path: str = "") -> None:
    """Equal to the last bit, through dicts and lists."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_equal(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for index, (a, b) in enumerate(zip(first, second, strict=True)):
            assert_equal(a, b, f"{path}.{index}")
    else:
        assert first == second, path


# --- resume ---


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_four_steps_are_two_and_a_resume_and_two(data, tmp_path, precision):
    recipe = dataclasses.replace(RECIPE, precision=precision)
    whole = fresh(data, recipe)
    for step in range(4):
        whole.train_on([data.mixture.batch(step)])
    half = fresh(data, recipe)
    for step in range(2):
        half.train_on([data.mixture.batch(step)])
    torch.save(half.state(), tmp_path / "state.pt")
    resumed = Run(recipe, AllInOne(half.network.config))  # other random weights, about to be replaced
    assert not torch.equal(resumed.network.local.fc.weight, half.network.local.fc.weight)
    resumed.restore(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.step == 2
    for step in range(2, 4):
        resumed.train_on([data.mixture.batch(step)])
    assert_equal(resumed.state(), whole.state())
    assert not torch.equal(whole.ema["stages.0.0.weight"], whole.network.stages[0][0].weight)


def test_a_resumed_run_takes_its_rates_from_the_recipe(data):
    run = fresh(data)
    run.train_on([data.mixture.batch(0)])
    slower = fresh(data, dataclasses.replace(RECIPE, lr=1e-5, shared_lr=1e-6))
    slower.restore(run.state())
    slower.train_on([data.mixture.batch(1)])
    assert [group["lr"] for group in slower.optimizer.param_groups] == [1e-5, 1e-6]


@pytest.mark.timeout(300)
def test_a_run_through_its_folder_resumes_exactly(data, tmp_path):
    for name in ("whole", "halves"):
        (tmp_path / name).mkdir()
    train(fresh(data), data.mixture, data.validation, tmp_path / "whole")
    # The schedule is the recipe's: stop the loop half way as a killed process would, by asking for fewer batches.
    run = fresh(data)
    for step in range(2):
        run.train_on([data.mixture.batch(step)])
    (tmp_path / "halves" / "curve.csv").write_text("step,score\n1,0\n3,0\n")  # row 3 was written after the state
    loop._trim_curve(tmp_path / "halves" / "curve.csv", run.step)
    assert (tmp_path / "halves" / "curve.csv").read_text() == "step,score\n1,0\n"
    (tmp_path / "halves" / "curve.csv").unlink()
    again = fresh(data)
    again.restore(run.state())
    train(again, data.mixture, data.validation, tmp_path / "halves")
    first, second = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "halves"))
    for part in ("network", "ema", "optimizer", "step"):
        assert_equal(first[part], second[part], part)


# --- one step ---


def test_the_rate_rises_stays_and_falls():
    run = Run(Recipe("tiny", {}, steps=20, warmup=4, decay=8), AllInOne(TINY))
    assert [run.rate(step) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert run.rate(12) == 1
    assert run.rate(14) == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 4))
    assert run.rate(16) == pytest.approx(0.5)
    assert run.rate(20) == pytest.approx(0)
    constant = Run(Recipe("tiny", {}, steps=20, warmup=0, decay=0), AllInOne(TINY))
    assert {constant.rate(step) for step in range(20)} == {1.0}


def test_shared_layers_learn_at_their_own_rate(data):
    run = fresh(data)
    run.train_on([data.mixture.batch(0)])
    assert [group["lr"] for group in run.optimizer.param_groups] == [0.5e-2, 0.5e-3]
    own, shared = (sum(p.numel() for p in group["params"]) for group in run.optimizer.param_groups)
    assert own + shared == sum(p.numel() for p in run.network.parameters())
    assert shared == sum(p.numel() for p in run.network.shared_parameters())


def test_lambda_switches_at_its_step(data):
    recipe = dataclasses.replace(RECIPE, age_lambda=0.8, precision="float32")
    run = fresh(data, recipe)
    batch = {"crops": torch.randint(0, 256, (2, 3, 150, 150), dtype=torch.uint8), "age": torch.tensor([20.0, 60.0])}
    for step in range(4):
        with torch.no_grad():
            output = run.network(batch["crops"], ["age"])["age"]
        expected = tasks.age_loss(output, batch["age"], 0.8 if step >= 2 else 0.0, tasks.AGE_SIGMA)
        assert run.train_on([("drawn", batch)]) == {"age": pytest.approx(expected.item(), rel=1e-4)}


def test_weights_of_the_recipe_scale_the_gradient(data):
    """Two tasks of which one weighs nothing: its head stays."""
    batch = {
        "crops": torch.randint(0, 256, (2, 3, 150, 150), dtype=torch.uint8),
        "age": torch.tensor([20.0, 60.0]),
        "female": torch.tensor([0.0, 1.0]),
    }
    run = fresh(data, dataclasses.replace(RECIPE, weights={"age": 0.0}, weight_decay=0.0))
    age, gender = (run.network.deep_heads[name][1].weight for name in ("age", "gender"))
    before = age.clone(), gender.clone()
    run.train_on([("drawn", batch)])
    assert torch.equal(age, before[0])
    assert not torch.equal(gender, before[1])


def test_the_average_follows_the_weights(data):
    run = fresh(data)
    expected = run.network.local.fc.bias.detach().clone()
    for step in range(3):
        run.train_on([data.mixture.batch(step)])
        share = min(0.999, (1 + step) / (10 + step))
        expected = share * expected + (1 - share) * run.network.local.fc.bias.detach()
    torch.testing.assert_close(run.ema["local.fc.bias"], expected)
    averaged = run.averaged()
    assert torch.equal(averaged.local.fc.bias, run.ema["local.fc.bias"])
    assert not averaged.training


@pytest.mark.parametrize(("label", "value"), [("age", [math.inf, 20.0]), ("age", [1e30, 20.0])])
def test_a_loss_that_is_not_finite_names_its_source(data, label, value):
    run = fresh(data)
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    batch = {"crops": torch.zeros(2, 3, 150, 150, dtype=torch.uint8), label: torch.tensor(value)}
    with pytest.raises(FloatingPointError, match=r"step 0: loss inf on a batch of broken_set: \{'age': inf\}"):
        run.train_on([("broken_set", batch)])
    assert_equal(dict(run.network.state_dict()), before)
    assert run.step == 0


def test_weights_that_are_not_finite_stop_it_too(data):
    run = fresh(data)
    with torch.no_grad():
        run.network.stages[0][0].weight[0, 0, 0, 0] = math.nan
    source, batch = data.mixture.batch(0)
    with pytest.raises(FloatingPointError, match=f"batch of {source}"):
        run.train_on([(source, batch)])


def test_it_learns(data):
    """Two dozen steps on one batch of drawn faces: every loss of the local branch falls."""
    run = fresh(data, dataclasses.replace(RECIPE, steps=30, warmup=0, decay=0, lr=3e-3, shared_lr=3e-3))
    batch = next(
        b for name, b in map(data.mixture.batch, range(30)) if name == "regions" and b["pose"].isfinite().any()
    )
    losses = [run.train_on([("regions", batch)]) for _ in range(24)]
    assert losses[-1]["landmarks"] < 0.5 * losses[0]["landmarks"]
    assert losses[-1]["pose"] < 0.7 * losses[0]["pose"]
    assert sum(losses[-1].values()) < 0.6 * sum(losses[0].values())


# --- a whole run ---


@pytest.fixture
def tiny_preset(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)


def run_command(monkeypatch, folder: Path, recipe: dict[str, object]) -> None:
    path = folder.with_suffix(".json")
    path.write_text(json.dumps(recipe))
    monkeypatch.setattr(sys, "argv", ["train", str(path), "--out", str(folder)])
    training.main()


@pytest.mark.timeout(300)
def test_the_command_trains_validates_saves_and_resumes(world, tiny_preset, monkeypatch, tmp_path, capsys):
    out = tmp_path / "run"
    recipe = {
        "preset": "tiny",
        "steps": 2,
        "validate_every": 2,
        "lr": 1e-3,
        "data": {"batch_size": 2, "shares": SHARES, "validation_size": 8},
    }
    run_command(monkeypatch, out, recipe)
    with (out / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2"]
    for figure in ("score", "helen_nme", "utkface_age_mae", "celeba_smile_accuracy", "regions_detection_accuracy"):
        assert all(math.isfinite(float(row[figure])) for row in rows), figure
    assert any(row["loss_landmarks"] for row in rows)
    assert cv2.imread(str(out / "curve.png")) is not None
    state = torch.load(out / "state.pt", weights_only=True)
    assert state["step"] == 2
    loaded = checkpoint.load(out / "best.safetensors")
    assert checkpoint.build_network(loaded).config == TINY
    assert loaded.config["preset"] == "tiny"
    assert loaded.config["recipe"]["steps"] == 2
    assert loaded.config["step"] == 2
    best = float(rows[0]["score"])
    assert loaded.config["validation"]["score"] == pytest.approx(best, abs=1e-4)
    assert state["best"] == pytest.approx(best)

    capsys.readouterr()
    run_command(monkeypatch, out, recipe | {"steps": 4})
    assert "resumed at step 2" in capsys.readouterr().out
    with (out / "curve.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["2", "4"]
    assert torch.load(out / "state.pt", weights_only=True)["step"] == 4
    assert not list(out.glob("*.partial"))


def test_a_start_needs_its_teacher(world):
    with pytest.raises(FileNotFoundError, match="dlib_resnet"):
        build(Recipe("residual", {}, 1, start="teacher"), 3)


def test_seeds(monkeypatch, tiny_preset):
    networks = [build(Recipe("tiny", {}, 1, seed=seed), 3) for seed in (0, 0, 1)]
    first, same, other = (network.local.fc.weight for network in networks)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert networks[0].identity.fc8.weight.shape == (3, 512)


# --- recipes ---


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.json")), ids=lambda path: path.stem)
def test_the_shipped_recipes_are_complete(path):
    recipe = read_recipe(path)
    config = PRESETS[recipe.preset]
    MixtureConfig(**recipe.data)
    tasks.LossConfig(**recipe.loss)
    heads = {*config.local, *config.deep} | ({"identity", "embedding"} if config.identity else set())
    assert set(recipe.weights) <= heads
    assert sum(recipe.data["shares"].values()) == pytest.approx(1)


def test_the_papers_recipe_has_the_papers_settings():
    recipe = read_recipe(RECIPES / "paper.json")
    assert (recipe.preset, recipe.start) == ("paper", None)
    assert (recipe.age_switch, recipe.age_lambda, recipe.loss["age_sigma"]) == (20_000, 1.0, 3.0)
    assert recipe.loss["landmarks"] == "euclidean"
    assert recipe.weights["embedding"] > 0  # no start: the trunk learns by distillation
    assert recipe.steps > recipe.age_switch


GOOD = {"preset": "residual", "steps": 3, "data": {"batch_size": 2, "shares": {"regions": 1.0}}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 1}, r"unknown fields \['learning_rate'\]"),
        ({"loss": {"hinge": 1}}, r"unknown fields \['loss\.hinge'\]"),
        ({"weights": {"nose": 1}}, r"unknown fields \['weights\.nose'\]"),
        ({"data": {"batch": 1}}, r"unknown fields \['data\.batch'\]"),
        ({"data": {"batch_size": 1, "shares": {"lfw": 1}}}, r"unknown fields \['data\.shares\.lfw'\]"),
        ({"preset": "vgg"}, "preset must be one of .*'vgg'"),
        ({"start": "techer"}, "start must be null, .*'techer'"),
        ({"precision": "bf16"}, "precision must be one of .*'bf16'"),
    ],
)
def test_recipes_that_are_refused(tmp_path, change, said):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(ValueError, match=rf"odd\.json: {said}"):
        read_recipe(path)


def test_recipes_that_are_no_recipe(tmp_path):
    path = tmp_path / "odd.json"
    for text, said in (
        ("[]", "a recipe is a JSON object"),
        ("{}", r"missing fields \['data', 'preset', 'steps'\]"),
        ("{", "Expecting"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            read_recipe(path)
    with pytest.raises(FileNotFoundError):
        read_recipe(tmp_path / "none.json")
    path.write_text(json.dumps(GOOD))
    assert read_recipe(path).steps == 3


# --- validation ---


class Oracle(torch.nn.Module):
    """Answers every crop with the same outputs."""

    def __init__(self, outputs: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, crops: torch.Tensor, _wanted: object = None) -> dict[str, torch.Tensor]:
        return {name: value[: len(crops)] for name, value in self.outputs.items()}


def test_figures_by_hand():
    points = torch.from_numpy(landmarks.CANONICAL).expand(2, -1, -1) - 0.5
    outputs = {
        "age": (torch.tensor([[30.0], [44.0]]) - tasks.AGE_CENTRE) / tasks.AGE_SCALE,
        "gender": torch.tensor([[0.0, 1.0], [0.0, 1.0]]),
        "landmarks": (points + torch.tensor([0.03, 0.04])).flatten(1),
        "pose": torch.deg2rad(torch.tensor([[4.0, 0, 0], [0, 0, -2]])),
        "descriptor": torch.eye(2, 512),
    }
    batch = {
        "crops": torch.zeros(2, 3, 8, 8),
        "age": torch.tensor([33.0, 40.0]),
        "female": torch.tensor([1.0, 0.0]),
        "landmarks": points,
        "pose": torch.zeros(2, 3),
        "subject": torch.tensor([0, 1]),
    }
    figures = validate(Oracle(outputs), {"drawn": [batch]}, "cpu", "float32")
    assert figures == {
        "drawn_age_mae": pytest.approx(3.5, abs=1e-4),
        "drawn_female_accuracy": 0.5,
        "drawn_nme": pytest.approx(0.05, abs=1e-5),
        "drawn_pose_mae": pytest.approx(1.0, abs=1e-4),
    }


def test_a_run_that_learns_pose_alone_has_its_figure():
    outputs = {"pose": torch.deg2rad(torch.tensor([[4.0, 0, 0], [0, 0, -2]]))}
    batch = {"crops": torch.zeros(2, 3, 8, 8), "pose": torch.zeros(2, 3)}
    figures = validate(Oracle(outputs), {"drawn": [batch]}, "cpu", "float32", ["pose"])
    assert figures == {"drawn_pose_mae": pytest.approx(1.0, abs=1e-4)}


def test_verification_of_descriptors():
    """Two photos of each of four people, alike within a person: every mate beats every stranger."""
    descriptors = torch.eye(4, 512).repeat_interleave(2, dim=0) + 0.01 * torch.randn(8, 512)
    person = torch.arange(4).repeat_interleave(2)
    batch = {"crops": torch.zeros(8, 3, 8, 8), "subject": torch.full((8,), -1), "person": person}
    figures = validate(Oracle({"descriptor": descriptors}), {"drawn": [batch]}, "cpu", "float32")
    assert figures == {"drawn_tar": 1.0}


def test_the_score_is_0_at_the_aims_and_1_less_a_floor_away():
    assert score({"utkface_age_mae": 3.9, "celeba_tar": 0.9}) == pytest.approx(0)
    assert score({"utkface_age_mae": 5.0}) == pytest.approx(-1)
    assert score({"celeba_smile_accuracy": 0.88}) == pytest.approx(-1)
    assert score({"celeba_smile_accuracy": 0.88, "utkface_age_mae": 3.9, "other": 9}) == pytest.approx(-0.5)
