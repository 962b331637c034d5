"""Makes photos of faces in profile from faces that look aside: python -m model.synthesis.

Needs the meshes that model/synthesis/extract_mesh.py writes to the cache's mesh/ folder. The result lies in the cache's
profiles/ folder: train/, val/ and test/ photos, labels.npz and a README. A photo's part is that of the photo it was
made from; the test part is made of HELEN's test photos and CelebA's test people alone, |yaw| 60–90°, and a face that
the identity teacher takes for somebody of the training photos is left out of it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from model import geometry
from model.datasets import Array, Sample, Split, cache_dir
from model.datasets.readers import celeba, helen, mtfl
from model.datasets.store import read_photo
from model.synthesis import compose
from model.synthesis import head as heads

LONGEST = 320
QUALITY = 95
"""Pixels of the longer side of a photo, and its JPEG quality."""
ASIDE = {"train": (13.0, 42.0), "val": (13.0, 42.0), "test": (16.0, 42.0)}
"""Degrees that a face must look aside already, so that the photo shows the side that a profile needs."""
YAWS = {"train": (30.0, 90.0), "val": (30.0, 90.0), "test": (60.0, 90.0)}
"""Degrees of |yaw| that faces are turned to."""
TURNS = (20.0, 70.0)
"""Degrees that a face is turned by."""
SMALLEST = 44.0
"""Pixels of a face box's side, in the photo it comes from and in the result."""
INSIDE = 0.94
ADDED = 0.45
"""Bad profiles: heads cut by the photo's border (share of the head that the photo holds at least), and those for which
the photo has to grow by more mirrored background than so many widths of the face.
"""
SAME_PERSON = 0.4
"""Distance of two of the identity teacher's descriptors below which a test face counts as a person trained on."""
SAVED_EVERY = 250
"""The labels are written each time that so many photos are made, so that training can begin with them."""
PER_PERSON = 3
TEST_COUNT = 150
"""Test profiles of one person at most, and altogether."""
README = """# Synthetic profiles

Made by `python -m model.synthesis` from HELEN, CelebA and MTFL (research, non-commercial; no redistribution).
Never train on test/, nor on val/.

labels.npz, a row a photo: name; source (set/photo it was made from); split; points [21, 2] in the order of
model/landmarks.py; visibility [21], 1 can be seen, 0 hidden behind the face; pose [3], roll, pitch, yaw in degrees
(yaw > 0: nose to the image's right); box [4] xyxy, the pipeline's rule on the points. The labelling detector saw one
face in each source; the background can still hold others that it missed, which are not labelled.
"""


@dataclass(frozen=True)
class Task:
    """One face to turn: a sample, its mesh, the yaw to turn it to, and where the photo goes."""

    sample: Sample
    mesh: Array
    triangles: NDArray[np.int32]
    yaw: float
    path: Path
    patchiest: float = float("inf")  # a profile whose made-up hair is patchier than this is left out


def read_faces(folder: Path) -> list[tuple[Sample, Array, NDArray[np.int32]]]:
    """Return the labelled faces of HELEN, CelebA and MTFL that fit a mesh file of the folder, in a stable order.

    Raises FileNotFoundError naming a missing mesh file.
    """
    faces = []
    for name, samples in (
        ("helen", helen.read()),
        ("celeba_wild", celeba.read("celeba_wild")),
        ("mtfl_net", mtfl.read()),
    ):
        path = folder / f"{name}.npz"
        if not path.is_file():
            raise FileNotFoundError(f"{path}: make it with model/synthesis/extract_mesh.py")
        with np.load(path) as arrays:
            meshes = dict(zip(arrays["name"].tolist(), arrays["mesh"], strict=True))
            triangles = arrays["triangles"]
        for sample in samples:
            mesh = meshes.get(sample.name)
            if mesh is not None and _agrees(sample, mesh):
                faces.append((sample, mesh, triangles))
    return faces


def _agrees(sample: Sample, mesh: Array) -> bool:
    """Return whether the mesh fits the labels of the photo's one face, which is large enough and not tilted too far.

    A second face in the background would be stretched with it.
    """
    if sample.landmarks is None or sample.pose is None or not np.isfinite(sample.landmarks).all() or sample.faces > 1:
        return False
    roll, pitch, _ = np.abs(sample.pose)
    side = float(_box(sample.landmarks)[2] - _box(sample.landmarks)[0])
    off = np.linalg.norm(heads.landmarks(mesh)[:, :2] - sample.landmarks, axis=1).mean()
    return bool(side >= SMALLEST and off < 0.05 * side and roll < 35 and pitch < 25)


def plan(
    faces: Sequence[tuple[Sample, Array, NDArray[np.int32]]], folder: Path, more: int, rng: np.random.Generator
) -> list[Task]:
    """Plan the tasks: a profile of every face that looks aside, and `more` further ones of HELEN's, which are sharpest.

    In random order, so that the first ones made are of all sets.
    """
    tasks = []
    for sample, mesh, triangles in faces:
        assert sample.pose is not None
        now = float(sample.pose[2])
        low, high = ASIDE[sample.split]
        if not low <= abs(now) <= high or (sample.split == "test" and sample.source == "mtfl_net"):
            continue
        first, last = YAWS[sample.split]
        first = max(first, abs(now) + TURNS[0])
        last = min(last, abs(now) + TURNS[1])
        for _ in range(1 + more * (sample.source == "helen" and sample.split == "train")):
            yaw = float(np.sign(now) * rng.uniform(first, last))
            name = f"{sample.source}_{sample.name.replace('/', '_').rsplit('.', 1)[0]}_{yaw:+04.0f}.jpg"
            tasks.append(Task(sample, mesh, triangles, yaw, folder / sample.split / name))
    shuffled = [tasks[i] for i in rng.permutation(len(tasks))]
    return list({task.path: task for task in reversed(shuffled)}.values())[::-1]  # the first of those with one name


def make(task: Task) -> dict[str, Array] | None:
    """Write a task's photo and return its labels; return None, and write nothing, when it would be a bad one."""
    assert task.sample.pose is not None
    head = heads.build(task.mesh, task.triangles, task.sample.pose)
    cv2.setNumThreads(1)
    profile = compose.turn(read_photo(task.sample.path), head, task.yaw, LONGEST)
    box = _box(profile.points)
    height, width = profile.photo.shape[:2]
    within = (profile.points > 0).all() and (profile.points < (width, height)).all()
    if profile.inside < INSIDE or profile.added > ADDED or profile.patchiness > task.patchiest:
        return None
    if not within or box[2] - box[0] < SMALLEST:
        return None
    task.path.parent.mkdir(parents=True, exist_ok=True)
    bgr = np.ascontiguousarray(profile.photo[:, :, ::-1])
    if not cv2.imwrite(str(task.path), bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY]):
        raise OSError(f"{task.path} cannot be written")
    return {"points": profile.points, "visibility": profile.visibility, "pose": profile.pose, "box": box}


def _box(points: Array) -> Array:
    return geometry.box_from_landmarks(torch.from_numpy(np.asarray(points, np.float32))[None])[0].numpy()


def choose_test(tasks: Sequence[Task], faces: Sequence[Sample], rng: np.random.Generator) -> list[Task]:
    """Return test tasks in random order, few of one person, without faces that look like people in training."""
    training_embeddings = np.stack([s.embedding for s in faces if s.split != "test" and s.embedding is not None])
    test_tasks = []
    people = Counter[str]()
    for i in rng.permutation(len(tasks)):
        sample = tasks[i].sample
        if (
            sample.embedding is None
            or np.linalg.norm(training_embeddings - sample.embedding, axis=1).min() < SAME_PERSON
        ):
            continue
        person = sample.subject or sample.name
        if people[person] < PER_PERSON:
            people[person] += 1
            test_tasks.append(tasks[i])
    return test_tasks


def write_labels(folder: Path, made: Sequence[tuple[Task, dict[str, Array]]]) -> None:
    """Write labels.npz and the README beside the photos."""
    columns = {key: np.stack([row[key] for _, row in made]).astype(np.float32) for key in made[0][1]}
    whole = folder / "labels.partial.npz"
    np.savez(
        whole,
        name=np.array([f"{t.sample.split}/{t.path.name}" for t, _ in made]),
        source=np.array([f"{t.sample.source}/{t.sample.name}" for t, _ in made]),
        split=np.array([t.sample.split for t, _ in made]),
        **columns,  # type: ignore[arg-type]
    )
    whole.replace(folder / "labels.npz")  # a reader sees the old labels or the new ones
    (folder / "README.md").write_text(README)


def main() -> None:
    """Read the command line, make the three parts, the smallest first, and write their labels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--meshes", type=Path, default=cache_dir() / "mesh")
    parser.add_argument("--out", type=Path, default=cache_dir() / "profiles")
    parser.add_argument("--more", type=int, default=1, help="further profiles of each HELEN face")
    parser.add_argument(
        "--patchiest",
        type=float,
        default=float("inf"),
        help="leave out profiles whose hair has holes in it: a standard deviation of brightness; 45 leaves "
        "out one in twenty (default: none)",
    )
    parser.add_argument("--limit", type=int, help="a quick look: only so many photos of each part")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    faces = read_faces(arguments.meshes)
    tasks = plan(faces, arguments.out, arguments.more, np.random.default_rng(0))
    tasks = [replace(task, patchiest=arguments.patchiest) for task in tasks]
    results: list[tuple[Task, dict[str, Array]]] = []
    with ProcessPoolExecutor(arguments.workers) as pool:
        splits: tuple[Split, ...] = ("test", "val", "train")
        for split in splits:
            split_tasks = [t for t in tasks if t.sample.split == split]
            if split == "test":
                split_tasks = choose_test(split_tasks, [f[0] for f in faces], np.random.default_rng(1))
            split_tasks = split_tasks[: arguments.limit]
            rows = zip(
                split_tasks,
                tqdm(pool.map(make, split_tasks, chunksize=8), split, len(split_tasks), mininterval=10.0),
                strict=True,
            )
            saved = 0
            for task, row in rows:
                if row is not None and split == "test" and saved == TEST_COUNT:
                    task.path.unlink()
                elif row is not None:
                    results.append((task, row))
                    saved += 1
                    if saved % SAVED_EVERY == 0:
                        write_labels(arguments.out, results)
        write_labels(arguments.out, results)


if __name__ == "__main__":
    main()
