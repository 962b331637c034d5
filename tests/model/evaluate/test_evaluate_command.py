"""`python -m model.evaluate` with the shipped weights, on a tiny copy of every data set in its own layout."""

import csv
import json
import subprocess
import sys
from functools import cache

import cv2
import numpy as np
import pytest
import skimage.data

from model import landmarks
from model.evaluate.__main__ import PROTOCOLS, main

FACE = np.array([174.0, 70.0, 279.0, 178.0])
POINTS = landmarks.CANONICAL * 97 + (178, 73)  # about where the astronaut's landmarks are
EMPTY = {"cat": skimage.data.cat, "cup": skimage.data.coffee}


@cache
def encoded(suffix, shape, pixels):
    image = np.frombuffer(pixels, np.uint8).reshape(shape)
    return cv2.imencode(suffix, image[..., ::-1])[1].tobytes()


def write(path, image):
    """The image in the format of the path; each is encoded once, whatever the number of its copies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(path.suffix, image.shape, image.tobytes()))


def labels(folder, name, members):
    folder.mkdir(parents=True, exist_ok=True)
    count = len(members)
    mesh = {"name": np.array(members), "count": np.ones(count, np.uint8), "box": np.tile(FACE, (count, 1))}
    mesh |= {"points": np.tile(np.pad(POINTS, ((0, 0), (0, 1))), (count, 1, 1)), "score": np.ones(count)}
    np.savez(folder / f"mesh_{name}.npz", **mesh, facing=np.full((count, 21), 127, np.int8), pose=np.zeros((count, 3)))
    teacher = {"name": np.array(members), "descriptor": np.ones((count, 128), np.float16), "box": mesh["box"]}
    np.savez(folder / f"dlib_{name}.npz", **teacher, score=np.ones(count), landmarks5=np.zeros((count, 5, 2)))


def table(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """The astronaut under every data set's own names; FACE_SHARED_DIR is this folder, the photos lie in sets/."""
    root = tmp_path_factory.mktemp("shared")
    sets, machine = root / "sets", root / "data" / "labels"
    woman = skimage.data.astronaut()

    pairs = [
        "2\t1",
        "Eileen_Collins\t1\t2",
        "Eileen_Collins\t1\tA_Cup\t1",
        "Eileen_Collins\t2\t3",
        "A_Cup\t1\tEileen_Collins\t3",
    ]
    for number, image in enumerate((woman, woman[:, ::-1], woman // 2), start=1):
        write(sets / f"lfw_pairs/Eileen_Collins_{number:04d}.webp", image)
    write(sets / "lfw_pairs/A_Cup_0001.webp", skimage.data.coffee())
    (sets / "lfw_pairs/pairs.txt").write_text("\n".join(pairs))

    members = ["train/30_1_0_20170101.webp", "test/34_1_0_20170102.webp", "test/20_0_1_20170103.webp"]
    for member in members:
        write(sets / "utkface" / member, woman)
    labels(machine, "utkface", members)

    people = [("1.webp", "1"), ("2.webp", "1"), ("3.webp", "2")]
    for image, _ in people:
        write(sets / "celeba_wild/test" / image, woman)
    table(
        sets / "celeba_wild/labels.csv",
        [{"image": i, "partition": "test", "identity": p, "Male": 0, "Smiling": 1, "Young": 1} for i, p in people],
    )
    labels(machine, "celeba_wild", [f"test/{image}" for image, _ in people])

    write(sets / "helen/helen/testset/1.webp", woman)
    members = [17, 19, 21, 22, 24, 26, 36, None, 39, 42, None, 45, 1, 31, 30, 35, 15, 48, None, 54, 8]
    points = np.full((68, 2), POINTS.mean(axis=0))
    for index, member in enumerate(members):
        if member is not None:
            points[member] = POINTS[index]
    points[[37, 38, 40, 41]], points[[43, 44, 46, 47]], points[[62, 66]] = POINTS[7], POINTS[10], POINTS[18]
    (sets / "helen/helen/testset/1.pts").write_text("\n".join(f"{x:.2f} {y:.2f}" for x, y in points))
    labels(machine, "helen", ["helen/testset/1.webp"])

    names = [f"net_7876/{i}.webp" for i in range(40)]  # a tenth of them, by hash, is the validation part
    rows = []
    for name in names:
        write(sets / "mtfl_net" / name, woman[40:240, 120:340])
        five = {
            f"{axis}_{n}": 1.0 for n in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right") for axis in "xy"
        }
        box = {f"box_{side}": 1.0 for side in ("left", "right", "top", "bottom")}
        rows.append({"image": name, **five, **box, "gender": 2, "smile": 1, "glasses": 2, "pose": 3})
    table(sets / "mtfl_net/labels.csv", rows)
    labels(machine, "mtfl_net", names)

    for name in ("negatives", "negatives_objects"):
        for scene, photo in EMPTY.items():
            write(sets / name / "test" / f"{scene}.webp", photo())
    return root


@pytest.fixture
def words(shared, monkeypatch):
    monkeypatch.setenv("FACE_SHARED_DIR", str(shared))
    return ["--data", str(shared / "sets")]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_all(words, tmp_path, capsys):
    file, plots = tmp_path / "out" / "figures.json", tmp_path / "plots"
    assert main(["all", *words, "--json", str(file), "--plots", str(plots)]) == 0
    whole = json.loads(file.read_text())
    assert list(whole["results"]) == list(PROTOCOLS)
    assert len(whole["model"]) == 64
    figures = {name: result["figures"] for name, result in whole["results"].items()}
    assert figures["lfw"]["photos_without_face"] == 1
    assert figures["lfw"]["accuracy"] == 100
    assert figures["utkface"]["gender_accuracy"] == 50  # the second label is wrong on purpose
    assert figures["celeba"]["gender_accuracy"] == figures["celeba"]["smile_accuracy"] == 100
    assert figures["celeba"]["pairs"] == 3
    assert figures["helen"]["faces_missed"] == 0
    assert figures["helen"]["nme"] < 15
    assert figures["pose"]["faces_missed"] == 0
    assert abs(figures["pose"]["mtfl_yaw_class_3"]) < 20
    assert figures["detection"]["recall"] == 100
    assert figures["detection"]["false_alarms_negatives"] == 0
    assert {path.name for path in plots.iterdir()} == {
        "groups_calibration.png",
        "lfw_roc.png",
        "celeba_roc.png",
        "helen_cumulative.png",
        "detection_precision_recall.png",
    }
    printed = capsys.readouterr().out
    assert f"| {whole['date']} | {whole['model'][:12]} |" in printed
    assert all(f"`python -m model.evaluate {name}` |" in printed for name in PROTOCOLS)


@pytest.fixture
def quick(tiny_checkpoint):
    """Options with which a command starts at once, for what does not depend on the network."""
    return ["--weights", str(tiny_checkpoint), "--engine", "torch"]


def test_limit_takes_fewer_photos(words, quick, tmp_path):
    assert main(["utkface", *words, *quick, "--limit", "1", "--json", str(tmp_path / "f.json")]) == 0
    assert json.loads((tmp_path / "f.json").read_text())["results"]["utkface"]["photos"] == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["helen", "--data", "/nowhere"], "data set helen: no folder /nowhere/helen"),
        (["lfw", "--weights", "none.safetensors"], "no checkpoint at none.safetensors"),
    ],
)
def test_what_is_missing_is_named(arguments, line, quick, capsys):
    name, *options = arguments
    assert main([name, *quick, *options]) == 1
    assert capsys.readouterr().err.strip() == line


def test_an_unreadable_photo_is_named(words, quick, shared, tmp_path, capsys):
    root = tmp_path / "sets" / "lfw_pairs"
    for member in (shared / "sets" / "lfw_pairs").iterdir():
        root.mkdir(parents=True, exist_ok=True)
        (root / member.name).write_bytes(member.read_bytes())
    (root / "A_Cup_0001.webp").write_bytes(b"no photo")
    assert main(["lfw", *quick, "--data", str(tmp_path / "sets")]) == 1
    assert "A_Cup_0001.webp" in capsys.readouterr().err


@pytest.mark.slow
def test_help_names_every_protocol():
    done = subprocess.run(
        [sys.executable, "-m", "model.evaluate", "--help"], capture_output=True, text=True, check=True
    )
    assert all(f"  {name} " in done.stdout for name in (*PROTOCOLS, "all"))
