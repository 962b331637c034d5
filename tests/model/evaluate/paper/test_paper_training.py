"""The paper's training on miniature archives: its batches, the recipes, a dry run, two processes against one."""

import csv
import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint, geometry, landmarks
from model import train as training
from model.datasets import archives as sets
from model.datasets.machine_landmarks import read_machine_landmarks, write_machine_landmarks
from model.datasets.prefetch import prefetch
from model.datasets.readers import celeba
from model.network import AllInOne
from model.presets import PRESETS
from model.tools import label_landmarks as mark
from model.training.loop import Run, build
from model.training.recipe import Recipe, read_recipe
from tests.conftest import TINY
from tests.model.evaluate.paper import archive_parts, archives, archives_of_people

pytestmark = pytest.mark.slow

RECIPES = Path(training.__file__).parent / "training" / "recipes" / "archives"
PAPER = {
    "regions": ["aflw"],
    "smile": ["celeba"],
    "gender": ["casia", "morph", "imdb_wiki", "celeba"],
    "age": ["imdb_wiki", "adience", "morph"],
    "identity": ["casia"],
}
MARKED = ("casia", "morph", "imdb_wiki", "adience", "lap", "fotw")
"""Archives that mark no points."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """All archives, with marks where they have no points."""
    folder = archives.build_all(tmp_path_factory.mktemp("train"))
    for name in MARKED:
        samples = sets.READERS[name](folder / name)
        points = np.stack([archive_parts.face_points(k) for k in range(len(samples))])
        columns = {"landmarks": points, "visibility": np.ones((len(samples), 21)), "pose": np.zeros((len(samples), 3))}
        boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
        write_machine_landmarks(folder / name, [s.name for s in samples], columns | {"box": boxes}, "drawn")
    return folder


@pytest.fixture(autouse=True)
def presets(monkeypatch):
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    # AFLW's 1,000 test photos would be all of the miniature.
    monkeypatch.setitem(sets.READERS, "aflw", lambda folder: sets.aflw.read(folder, 4))


def config(folder, **changes):
    return sets.ArchivesConfig(
        **({"sets": PAPER, "batch_size": 4, "root": str(folder), "validation_size": 6} | changes)
    )


@pytest.fixture(scope="module")
def data(root):
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sets.READERS, "aflw", lambda folder: sets.aflw.read(folder, 4))
        return sets.load(config(root), TINY.input_size)


# --- batches ---


def test_five_sub_networks_take_turns(data):
    batches = [data.mixture.batch(number) for number in range(10)]
    assert [name for name, _ in batches] == list(PAPER) * 2
    labels = {name: set(batch) - {"crops"} for name, batch in batches}
    assert labels["regions"] == {"detection", "landmarks", "landmark_weight", "visibility", "pose"}
    assert labels["smile"] == {"smile"}
    assert labels["gender"] == {"female"}
    assert labels["age"] == {"age", "age_sigma"}
    assert labels["identity"] == {"subject", "person"}
    assert all(batch["crops"].shape == (4, 3, 150, 150) for _, batch in batches)
    assert all(torch.equal(batch["crops"], data.mixture.batch(n)[1]["crops"]) for n, (_, batch) in enumerate(batches))


def test_labels_are_known(data):
    for number in range(5):
        name, batch = data.mixture.batch(number)
        for label in sets.LABELS[name]:
            assert torch.isfinite(batch[label].float()).all(), (name, label)
    identities = data.mixture.batch(4)[1]
    assert identities["subject"].min() >= 0
    assert data.subjects == 4
    ages = data.mixture.batch(3)[1]
    assert set(ages["age_sigma"].tolist()) == {3.0}  # no set of Table I gives any


def test_deviations_of_guessed_ages_reach_the_batch(root):
    data = sets.load(config(root, sets={"age": ["lap"]}), TINY.input_size)
    sigmas = {float(s) for n in range(4) for s in data.mixture.batch(n)[1]["age_sigma"]}
    assert sigmas <= {2.5, 3.0, 3.5, 4.0, 4.5}
    assert len(sigmas) > 1


def test_test_parts_are_not_trained_on(root, data):
    test = {s.name for s in celeba.read_archive(root / "celeba") if s.split == "test"}
    smile = data.mixture.loaders["smile"].__self__
    assert test
    assert not test & {s.name for s in smile.samples}
    aflw = data.mixture.loaders["regions"].__self__
    assert all(s.split == "train" for s in aflw.samples)


def test_five_points_align_like_all_of_them():
    """A chip cut by CelebA's five points of a canonical face is the chip cut by the seven."""
    points = np.stack([archive_parts.face_points(k) for k in range(3)])
    five = np.full_like(points, np.nan)
    five[:, list(landmarks.MTFL)] = points[:, list(landmarks.MTFL)]
    full = geometry.alignment_matrices(torch.from_numpy(points), 150).numpy()
    assert np.allclose(sets.alignments(points, 150), full, atol=1e-4)
    assert np.allclose(sets.alignments(five, 150), full, atol=1e-2)
    five[1, landmarks.MTFL[0]] = five[1, landmarks.MTFL[1]] = five[1, landmarks.MTFL[2]] = np.nan
    matrices = sets.alignments(five, 150)
    assert np.isnan(matrices[1]).all()
    assert np.isfinite(matrices[[0, 2]]).all()


def test_hidden_points_do_not_count(root, data):
    loader = data.mixture.loaders["regions"].__self__
    batch = loader.exact(range(len(loader.samples)))
    hidden = torch.isnan(batch["landmarks"]).any(dim=2)
    assert (hidden.sum(dim=1) == 1).all()
    assert (batch["visibility"][hidden] == 0).all()
    assert (batch["visibility"][~hidden] == 1).all()
    assert (batch["detection"] == 1).all()
    negatives = loader.exact_negatives(8)
    assert (negatives["detection"] == 0).all()
    assert torch.isnan(negatives["landmarks"]).all()


def test_fddb_leaves_its_fold_out(root):
    whole = sets.load(config(root, sets={"regions": ["fddb"]}), 150).mixture.loaders["regions"].__self__
    nine = sets.load(config(root, sets={"regions": ["fddb"]}, fold=3), 150).mixture.loaders["regions"].__self__
    assert "3" in {s.group for s in whole.samples}
    assert "3" not in {s.group for s in nine.samples}
    assert torch.isnan(nine.exact([0])["pose"]).all()


def test_backgrounds_of_ones_own(root, tmp_path):
    archive_parts.photo(tmp_path / "scene.png", np.zeros((0, 2)))
    data = sets.load(config(root, sets={"regions": ["aflw"]}, backgrounds=str(tmp_path), negatives=1.0), 150)
    batch = data.mixture.batch(0)[1]
    assert (batch["detection"] == 0).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sets": {"age": ["aflw"]}}, "aflw: no sample with age and landmarks"),
        ({"sets": {"nose": ["aflw"]}}, r"not \['nose'\]"),
        ({"sets": {"age": ["utkface"]}}, r"not \['utkface'\]"),
        ({"sets": {}}, "sets maps sub-networks"),
        ({"root": None}, "archives need --data DIR"),
    ],
)
def test_what_is_refused(root, wrong, said):
    with pytest.raises(ValueError, match=said):
        sets.load(config(root, **wrong), 150)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="data set adience: no folder"):
        sets.load(config(tmp_path), 150)


def test_worker_processes_give_the_same_batches(data):
    one = [data.mixture.batch(n) for n in range(3, 9)]
    many = list(prefetch(data.mixture.batch, 3, 9, workers=2))
    assert [name for name, _ in many] == [name for name, _ in one]
    for (_, first), (_, second) in zip(one, many, strict=True):
        assert all(torch.equal(first[key].nan_to_num(), second[key].nan_to_num()) for key in first)


def test_a_workers_error_is_raised(data):
    def fail(number):
        raise ValueError(f"batch {number}")

    with pytest.raises(ValueError, match="batch 3"):
        list(prefetch(fail, 3, 9, workers=1))


# --- steps ---


def tiny_recipe(**changes):
    return Recipe("tiny", {}, **({"steps": 4, "warmup": 1, "decay": 1, "precision": "float32", "lr": 1e-3} | changes))


def fresh(recipe, subjects=4, seed=0):
    torch.manual_seed(seed)
    return Run(recipe, AllInOne(dataclasses.replace(TINY, subjects=subjects)))


def test_accumulated_gradients_are_the_mean(data):
    """One step on five batches: the gradient is the mean of the five, as Eq. 8 sums the sub-networks'."""
    batches = [data.mixture.batch(n) for n in range(5)]
    run = fresh(tiny_recipe(clip=1e9))
    run.train_on(batches)
    grads = {n: p.grad.clone() for n, p in run.network.named_parameters() if p.grad is not None}
    total = {}
    for batch in batches:
        alone = fresh(tiny_recipe(clip=1e9))
        alone.train_on([batch])
        for name, parameter in alone.network.named_parameters():
            if parameter.grad is not None:
                total[name] = total.get(name, 0) + parameter.grad / 5
    assert grads.keys() == total.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, total[name], rtol=1e-3, atol=1e-6)
    assert any(n.startswith("identity.fc8") for n in grads)
    assert run.step == 1


def test_fine_tuning_moves_one_branch_alone(data, tmp_path):
    start = tmp_path / "start.safetensors"
    network = fresh(tiny_recipe()).network
    checkpoint.save(start, {"network": checkpoint.inference_state(network)}, {})
    recipe = tiny_recipe(start=str(start), only=["age"], accumulate=1)
    run = Run(recipe, build(recipe, 4))
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    for _ in range(2):
        run.train_on([data.mixture.batch(3)])
    moved = {name for name, tensor in run.network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith(("deep_heads.age.", "deep_stages.")) for name in moved)


# --- recipes ---


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.json")), ids=lambda path: path.stem)
def test_the_recipes_are_whole(path):
    recipe = read_recipe(path)
    chosen = sets.ArchivesConfig(**recipe.data)
    assert recipe.preset == "paper"
    assert recipe.accumulate in (1, len(chosen.sets))
    heads = {*PRESETS["paper"].local, *PRESETS["paper"].deep, "identity"}
    assert set(recipe.weights) | set(recipe.only) <= heads


def test_the_papers_training():
    recipe = read_recipe(RECIPES / "paper.json")
    assert recipe.data["sets"] == PAPER  # Table I
    assert (recipe.accumulate, recipe.age_switch, recipe.age_lambda, recipe.loss["age_sigma"]) == (5, 20_000, 1, 3)
    assert recipe.loss["landmarks"] == "euclidean"
    assert set(recipe.weights) == {*PRESETS["paper"].local, *PRESETS["paper"].deep, "identity"}
    assert {path.stem: read_recipe(path).only for path in RECIPES.glob("*.json")} == {
        "paper": [],
        "fddb": ["detection"],
        "lap": ["age"],
        "fotw": ["gender", "smile"],
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accumulate": 0}, "accumulate is at least 1"),
        ({"only": ["nose"]}, r"unknown fields \['only: nose'\]"),
        ({"data": {"sets": {}, "batch_size": 1, "root": "/"}}, r"unknown fields \['data.root'\]"),
        ({"data": {"sets": {}, "batch_size": 1, "shares": {}}}, r"unknown fields \['data.shares'\]"),
    ],
)
def test_recipes_that_are_refused(tmp_path, change, said):
    path = tmp_path / "odd.json"
    path.write_text(json.dumps({"preset": "tiny", "steps": 1, "data": {"sets": PAPER, "batch_size": 1}} | change))
    with pytest.raises(ValueError, match=said):
        read_recipe(path)


# --- whole runs ---


def write_recipe(path, **changes):
    recipe = json.loads((RECIPES / "paper.json").read_text())
    recipe |= {"preset": "tiny", "steps": 2, "warmup": 1, "decay": 1, "validate_every": 2, "workers": 0}
    recipe["data"] |= {"batch_size": 2, "validation_size": 6}
    path.write_text(json.dumps(recipe | changes))
    return path


@pytest.mark.timeout(300)
def test_a_dry_run_of_the_papers_recipe(root, monkeypatch, tmp_path):
    """Five sub-networks, every set of Table I, two worker processes: two steps, validation, weights; then two more."""
    out = tmp_path / "run"
    for steps in (2, 4):
        path = write_recipe(tmp_path / "paper.json", steps=steps, workers=2)
        monkeypatch.setattr(sys, "argv", ["train", str(path), "--out", str(out), "--data", str(root)])
        training.main()
    with (out / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    heads = ("detection", "landmarks", "visibility", "pose", "smile", "gender", "age", "identity")
    assert all(math.isfinite(float(row[f"loss_{head}"])) for row in rows for head in heads)
    figures = (
        "score",
        "regions_nme",
        "regions_pose_mae",
        "smile_smile_accuracy",
        "gender_female_accuracy",
        "age_age_mae",
    )
    assert all(math.isfinite(float(row[name])) for row in rows for name in figures)
    loaded = checkpoint.load(out / "best.safetensors")
    assert checkpoint.build_network(loaded).config == TINY
    assert loaded.config["recipe"]["data"]["sets"] == PAPER


SCRIPT = """
import torch
torch.set_num_threads(1)
from model import train as training
from model.datasets import archives
from model.datasets.readers import aflw
from model.presets import PRESETS
from tests.conftest import TINY
PRESETS["tiny"] = TINY
archives.READERS["aflw"] = lambda folder: aflw.read(folder, 4)
training.main()
"""


@pytest.mark.timeout(300)
def test_two_processes_do_what_one_does(root, monkeypatch, tmp_path):
    """torchrun with gloo: one batch on each of two processes is two accumulated batches on one."""
    few = {"batch_size": 2, "validation_size": 2, "sets": {"regions": ["aflw"], "age": ["lap"], "identity": ["casia"]}}
    words = {}
    for processes in (1, 2):
        path = tmp_path / f"{processes}.json"
        write_recipe(path, accumulate=2 // processes, precision="float32", data=few)
        words[processes] = [str(path), "--out", str(tmp_path / f"run{processes}"), "--data", str(root)]
    monkeypatch.setattr(sys, "argv", ["train", *words[1]])
    training.main()

    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(training.__file__).parents[1])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, str(script), *words[2]], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"run{n}" / "state.pt", weights_only=True) for n in (1, 2))
    assert one["step"] == two["step"] == 2
    for name, tensor in one["network"].items():
        torch.testing.assert_close(two["network"][name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    assert (tmp_path / "run2" / "curve.csv").read_text().count("\n") == 2


# --- marks ---


def test_marks_of_a_set_without_points(sure_checkpoint, tmp_path, capsys):
    archives_of_people.morph(tmp_path / "morph", 4)
    words = ["morph", "--data", str(tmp_path), "--weights", str(sure_checkpoint)]
    assert mark.main(words) == 0
    assert "faces found for 4 of 4 samples" in capsys.readouterr().out
    marks = read_machine_landmarks(tmp_path / "morph")
    samples = sets.READERS["morph"](tmp_path / "morph")
    assert marks.keys() == {s.name for s in samples}
    assert all(np.isfinite(s.landmarks).all() and s.box.shape == (4,) for s in samples)
    assert mark.main(["lap", "--data", str(tmp_path), "--weights", str(sure_checkpoint)]) == 1
    assert "data set lap: no folder" in capsys.readouterr().err
