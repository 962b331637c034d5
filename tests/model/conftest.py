"""A world in miniature: every data set in its own layout, of drawn faces whose landmarks are dots of known colours."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model import landmarks
from model.datasets import Sample
from model.datasets.store import PhotoStore

SIDE = 120  # of a drawn photo
SIZE = 150  # of a crop
POSE = np.float32([5, -10, 20])
LABELS = ("age", "female", "subject", "embedding")


def colour(index: int) -> tuple[int, int, int]:
    """The colour of landmark `index`."""
    return 12 * index, 255 - 12 * index, 128 if index % 2 else 250


def face_points(seed: int, side: int = SIDE) -> np.ndarray:
    """Landmarks [21, 2] of the drawn face number `seed`, some 60 px wide."""
    rng = np.random.default_rng(seed)
    return (landmarks.CANONICAL * rng.uniform(55, 65) + rng.uniform(0.2, 0.3, 2) * side).astype(np.float32)


def draw_face(points: np.ndarray, side: int = SIDE) -> np.ndarray:
    """uint8 [side, side, 3] RGB: grey, with a dot at every landmark."""
    photo = np.full((side, side, 3), 60, np.uint8)
    for index, (x, y) in enumerate(points):
        cv2.circle(photo, (int(x * 16 - 8), int(y * 16 - 8)), 40, colour(index), -1, cv2.LINE_AA, 4)
    return photo


def write(path: Path, photo: np.ndarray) -> None:
    """The photo as lossless WebP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), photo[:, :, ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class World:
    """Writes the sets and their machine labels below two folders."""

    def __init__(self, root: Path) -> None:
        self.cache, self.shared = root / "cache", root / "shared"
        self.labels: dict[str, list[tuple[str, np.ndarray]]] = {}

    def face(self, dataset: str, name: str) -> np.ndarray:
        """Draws a face as photo `name` of the set and notes it for the machine labels; its landmarks."""
        rows = self.labels.setdefault(dataset, [])
        points = face_points(len(rows))
        write(self.cache / "data" / dataset / name, draw_face(points))
        rows.append((name, points))
        return points

    def write_labels(self) -> None:
        """The .npz files of all sets that hold faces."""
        folder = self.shared / "data" / "labels"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(0)
        for dataset, rows in self.labels.items():
            names, points = np.array([name for name, _ in rows]), np.stack([points for _, points in rows])
            count = len(rows)
            boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
            np.savez(
                folder / f"mesh_{dataset}.npz",
                name=names,
                points=np.concatenate([points, np.zeros((count, 21, 1))], axis=2).astype(np.float32),
                facing=np.tile(np.linspace(-127, 127, 21).astype(np.int8), (count, 1)),
                pose=np.tile(np.float32([5, -10, 20]), (count, 1)),
                box=boxes.astype(np.float32),
                score=np.ones(count, np.float32),
                count=np.ones(count, np.int64),
            )
            np.savez(
                folder / f"dlib_{dataset}.npz",
                name=names,
                descriptor=rng.normal(0, 0.1, (count, 128)).astype(np.float16),
                landmarks5=points[:, list(landmarks.MTFL)],
                box=boxes,
                score=np.ones(count),
            )


def _utkface(world: World) -> None:
    for i in range(40):
        world.face("utkface", f"train/{20 + i}_{i % 2}_{i % 5}_2017{i:04d}.webp")
    for i in range(3):
        world.face("utkface", f"test/{40 + i}_1_0_2018{i:04d}.webp")


def _celeba(world: World) -> None:
    for dataset, people in (("celeba_wild", 20), ("celeba_aligned_small", 24)):
        rows = []
        for i in range(2 * people):
            partition = "test" if dataset == "celeba_wild" and i >= 34 else "train"
            world.face(dataset, f"{partition}/{i:06d}.webp")
            known = {
                "Male": i % 2,
                "Smiling": int(i % 3 == 0),
                "Young": 1,
                "Eyeglasses": int(i == 1),
                "Wearing_Hat": 0,
                "Blurry": 0,
            }
            rows.append({"image": f"{i:06d}.webp", "partition": partition, "identity": 100 + i // 2, **known})
        write_csv(world.cache / "data" / dataset / "labels.csv", rows)


def _mtfl(world: World) -> None:
    rows = []
    for i in range(30):
        name = f"photo{i}.webp"
        points = world.face("mtfl_net", name)
        five = dict(zip(("left_eye", "right_eye", "nose", "mouth_left", "mouth_right"), landmarks.MTFL, strict=True))
        x1, y1, x2, y2 = (*points.min(axis=0), *points.max(axis=0))
        coordinates = {f"{axis}_{n}": points[k, a] for n, k in five.items() for a, axis in enumerate("xy")}
        box = {"box_left": x1, "box_top": y1, "box_right": x2, "box_bottom": y2}
        labels = {"gender": 1 + i % 2, "smile": 1 + int(i % 3 == 0), "glasses": 2 - int(i == 1), "pose": 1 + i % 5}
        rows.append({"image": name, **coordinates, **labels, **box})
    write_csv(world.cache / "data" / "mtfl_net" / "labels.csv", rows)


def _helen(world: World) -> None:
    for i in range(44):
        folder = "testset" if i >= 40 else "trainset"
        points = world.face("helen", f"helen/{folder}/{i}_1.webp")
        markup = np.tile(points[14], (68, 1))
        corners = {members[0] for members in landmarks.FROM_68 if len(members) == 1}
        for index, members in sorted(enumerate(landmarks.FROM_68), key=lambda item: len(item[1])):
            free = [m for m in members if m not in corners or len(members) == 1]
            fixed = sum(markup[m] for m in members if m not in free)
            markup[free] = (points[index] * len(members) - fixed) / len(free)
        path = world.cache / "data" / "helen" / "helen" / folder / f"{i}_1.pts"
        path.write_text("\n".join(f"{x:.4f} {y:.4f}" for x, y in markup))


def _backgrounds(world: World) -> None:
    rng = np.random.default_rng(1)
    for dataset in ("negatives", "negatives_objects"):
        for i in range(34):
            photo = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8).repeat(8, axis=0).repeat(8, axis=1)
            write(world.cache / "data" / dataset / ("test" if i > 30 else "train") / f"{i}.webp", photo)


@pytest.fixture(scope="session")
def world_folders(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Every data set that training reads, on disk."""
    world = World(tmp_path_factory.mktemp("world"))
    for build in (_utkface, _celeba, _mtfl, _helen, _backgrounds):
        build(world)
    world.write_labels()
    return world


@pytest.fixture
def world(world_folders: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, and the environment points to it."""
    monkeypatch.setenv("FACE_CACHE_DIR", str(world_folders.cache))
    monkeypatch.setenv("FACE_SHARED_DIR", str(world_folders.shared))
    return world_folders


def iou(first: np.ndarray, second: np.ndarray) -> float:
    """Intersection over union of two boxes, one number at a time."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    inner = np.prod(np.maximum(high - low, 0))
    return float(inner / (np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - inner))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six faces, two empty photos, and their store."""
    root = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    faces, empty = [], []
    for i in range(6):
        points = face_points(i)
        write(root / f"{i}.webp", draw_face(points))
        faces.append(
            Sample(
                "celeba_wild",
                f"{i}",
                root / f"{i}.webp",
                "train",
                landmarks=points,
                visibility=np.linspace(0, 1, 21).astype(np.float32),
                pose=POSE,
                embedding=rng.normal(0, 1, 128).astype(np.float32),
                age=20.0 + 10 * i,
                female=float(i % 2),
                subject=str(i // 2),
            )
        )
    for i in range(2):
        write(root / f"empty{i}.webp", np.full((SIDE, SIDE + 20, 3), 30 + i, np.uint8))
        empty.append(Sample("negatives", f"{i}", root / f"empty{i}.webp", "train", faces=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACE_CACHE_DIR", str(root / "cache"))
        return faces, empty, PhotoStore(faces + empty)


def assert_dots(crop: torch.Tensor, points: np.ndarray, mirrored: bool) -> None:
    """Every landmark inside the crop stands on the dot of its colour."""
    pixels = crop.permute(1, 2, 0).numpy().astype(int)
    seen = 0
    for index, (x, y) in enumerate(points):
        if 1 <= x < SIZE - 1 and 1 <= y < SIZE - 1:
            expected = colour(landmarks.MIRROR[index] if mirrored else index)
            assert np.abs(pixels[int(y), int(x)] - expected).max() < 40, landmarks.NAMES[index]
            seen += 1
    assert seen >= 15
