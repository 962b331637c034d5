"""The ablation's runs: what each learns from, for how long, and the table."""

import pytest

from model import tasks
from model.tools import ablate
from model.training.recipe import Recipe

SHARES = {"utkface": 0.28, "celeba": 0.22, "mtfl": 0.1, "regions": 0.4}
BASE = Recipe(preset="residual", data={"batch_size": 4, "shares": SHARES}, steps=9000, start="teacher", shared_lr=1e-5)


@pytest.fixture(scope="module")
def runs():
    return ablate.variants(BASE, 1000)


def test_a_task_alone_sees_as_many_crops_of_its_sets_as_beside_the_others(runs):
    assert runs["all"].steps == 1000
    assert {name: runs[f"{name} alone"].steps for name in ablate.ALONE} == {
        "detection": 400, "landmarks": 400, "pose": 400, "smile": 320, "gender": 600, "age": 280, "identity": 600,
    }  # fmt: skip


@pytest.mark.parametrize("name", ablate.ALONE)
def test_a_task_alone_learns_nothing_else(runs, name):
    learning, sources = ablate.ALONE[name]
    recipe = runs[f"{name} alone"]
    assert {task for task, weight in recipe.weights.items() if weight} == set(learning)
    assert set(recipe.weights) == set(tasks.TASKS)
    assert set(recipe.data["shares"]) == set(sources)
    assert recipe.start == "teacher"


def test_without_pre_training_the_trunk_learns_at_the_full_rate_and_presets_meet_on_equal_terms(runs):
    scratch, paper = runs["all, no identity pre-training"], runs["all, paper preset"]
    assert scratch.start is None
    assert scratch.shared_lr == scratch.lr
    assert (paper.preset, paper.start, paper.lr, paper.data) == ("paper", None, scratch.lr, scratch.data)


def test_the_table_shows_a_task_alone_in_its_own_column_only():
    whole = dict.fromkeys(ablate.FIGURES.values(), 0.5)
    lines = ablate.table({"all": [whole], "age alone": [whole]}).splitlines()
    assert lines[0] == "| run | detection | landmarks | pose | smile | gender | age | identity |"
    assert lines[2] == "| all | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 |"
    assert lines[3] == "| age alone | – | – | – | – | – | 0.5 | – |"


def test_the_table_shows_the_mean_of_seeds_and_how_far_they_lie_apart():
    seeds = [{"utkface_age_mae": 5.0}, {"utkface_age_mae": 5.5}]
    assert ablate.table({"age alone": seeds}).splitlines()[2] == "| age alone | – | – | – | – | – | 5.25 ± 0.25 | – |"


def test_a_task_that_a_preset_lacks_is_a_dash():
    figures = dict.fromkeys(ablate.FIGURES.values(), 0.5)
    del figures["utkface_age_mae"]
    row = ablate.table({"all, hyperface preset": [figures]}).splitlines()[2]
    assert row == "| all, hyperface preset | 0.5 | 0.5 | 0.5 | 0.5 | 0.5 | – | 0.5 |"


def test_a_finished_run_is_only_read(tmp_path):
    curve = tmp_path / "curve.csv"
    curve.write_text("step,loss_age,utkface_age_mae\n10,,9.0\n20,,5.5\n")
    assert ablate.figures(Recipe(preset="residual", data={}, steps=20), tmp_path) == {
        "step": 20,
        "utkface_age_mae": 5.5,
    }
