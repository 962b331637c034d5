"""Crops and their labels: the drawn dots must be where the labels say, whatever was turned, mirrored or moved."""

import dataclasses
from pathlib import Path
from threading import Event
from time import monotonic, sleep
from typing import Literal

import numpy as np
import pytest
import torch

from model import geometry, landmarks
from model.datasets import Sample, celeba
from model.datasets.aligned import AlignedFaces, _age_chances
from model.datasets.augment import degrade, jitter_matrix, mirror_matrix
from model.datasets.loaders import Mixture, prefetch
from model.datasets.mixture import MixtureConfig, load
from model.datasets.regions import Regions, random_box
from model.datasets.store import PhotoStore
from tests.model.conftest import SIDE, colour, draw_face, face_points, iou, write

SIZE = 150
POSE = np.float32([5, -10, 20])


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


@pytest.fixture(scope="module")
def regions(drawn):
    faces, empty, store = drawn
    return Regions(faces, empty, store, SIZE)


@pytest.fixture(scope="module")
def many(regions):
    """400 regions."""
    return regions.batch(400, np.random.default_rng(3))


def in_crop(points: torch.Tensor) -> np.ndarray:
    """Region units → pixels of the crop."""
    return (points.numpy() / geometry.REGION_SCALE + 0.5) * SIZE


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


# --- regions ---


def test_exact_regions_show_the_landmarks_box(regions):
    batch = regions.exact(range(6))
    assert batch["crops"].shape == (6, 3, SIZE, SIZE)
    assert batch["crops"].dtype == torch.uint8
    assert batch["detection"].tolist() == [1] * 6
    for i in range(6):
        points = batch["landmarks"][i]
        assert_dots(batch["crops"][i], in_crop(points), mirrored=False)
        box = geometry.box_from_landmarks(points[None])[0]
        torch.testing.assert_close(box, torch.tensor([-0.5, -0.5, 0.5, 0.5]), atol=1e-4, rtol=0)
        torch.testing.assert_close(batch["pose"][i], torch.deg2rad(torch.from_numpy(POSE)))
        torch.testing.assert_close(batch["visibility"][i], torch.linspace(0, 1, 21))


@pytest.mark.parametrize("seed", range(8))
def test_turned_and_mirrored_regions_keep_their_labels_true(regions, seed):
    rng = np.random.default_rng(seed)
    i, mirrored = int(rng.integers(6)), bool(seed % 2)
    turn = jitter_matrix(SIZE, rng, 20, 0, 0)
    angle = np.arctan2(turn[1, 0], turn[0, 0])
    if mirrored:
        turn = mirror_matrix(SIZE) @ turn
    region = regions._region(i, regions.boxes[i], turn, mirrored)
    points = in_crop(region["landmarks"])
    assert_dots(region["crops"], points, mirrored)
    # Left stays left: of a mirrored face too.
    assert points[6, 0] < points[11, 0]
    roll, pitch, yaw = np.rad2deg(region["pose"].numpy())
    sign = -1 if mirrored else 1
    assert (pitch, yaw) == pytest.approx((POSE[1], sign * POSE[2]), abs=1e-3)
    assert roll == pytest.approx(sign * (POSE[0] + np.rad2deg(angle)), abs=1e-3)
    expected = np.linspace(0, 1, 21)[list(landmarks.MIRROR)] if mirrored else np.linspace(0, 1, 21)
    np.testing.assert_allclose(region["visibility"], expected, atol=1e-6)


def test_roll_is_the_angle_of_the_eyes_in_the_crop(regions):
    """Clockwise in the image is positive: the drawn faces stand upright, so the roll is what the crop was turned by."""
    for seed in range(6):
        turn = jitter_matrix(SIZE, np.random.default_rng(seed), 25, 0, 0)
        if mirrored := bool(seed % 2):
            turn = mirror_matrix(SIZE) @ turn
        region = regions._region(0, regions.boxes[0], turn, mirrored)
        x, y = (region["landmarks"][11] - region["landmarks"][6]).tolist()
        upright = POSE[0] * (-1 if mirrored else 1)
        assert np.rad2deg(region["pose"][0].item()) - upright == pytest.approx(np.rad2deg(np.arctan2(y, x)), abs=0.5)


def test_mirroring_twice_is_nothing(regions):
    twice = mirror_matrix(SIZE) @ mirror_matrix(SIZE)
    np.testing.assert_array_equal(twice, np.eye(3))
    once = regions._region(2, regions.boxes[2], mirror_matrix(SIZE), True)
    plain = regions._region(2, regions.boxes[2], np.eye(3), False)
    back = once["landmarks"][list(landmarks.MIRROR)] * torch.tensor([-1.0, 1.0])
    torch.testing.assert_close(back, plain["landmarks"], atol=1e-5, rtol=0)
    torch.testing.assert_close(once["pose"] * torch.tensor([-1.0, 1, -1]), plain["pose"])
    torch.testing.assert_close(once["visibility"][list(landmarks.MIRROR)], plain["visibility"])
    np.testing.assert_allclose(once["crops"].flip(2), plain["crops"], atol=2)


@pytest.mark.parametrize(
    ("shift", "label"),
    [(0.0, 1.0), (0.2, 1.0), (0.32, 1.0), (0.35, None), (0.45, None), (0.5, 0.0), (0.9, 0.0), (3.0, 0.0)],
)
def test_the_label_is_the_overlap(regions, shift, label):
    """A square moved by s sides overlaps by (1 - s) / (1 + s): 1/2 at a third, 0.35 at 0.4815."""
    truth = regions.boxes[1]
    box = truth + np.float32([shift, 0, shift, 0]) * (truth[2] - truth[0])
    assert iou(box, truth) == pytest.approx(max(0, (1 - shift) / (1 + shift)), abs=1e-4)
    found = regions._region(1, box, np.eye(3), False)["detection"].item()
    assert np.isnan(found) if label is None else found == label


def test_many_draws(many):
    """Regions with landmarks overlap their face by more than 0.35; the label follows from the landmarks' own box."""
    assert set(many["detection"][~many["detection"].isnan()].tolist()) == {0.0, 1.0}
    negative = (many["detection"] == 0) & many["landmarks"].isnan().all(dim=(1, 2))
    assert negative.float().mean().item() == pytest.approx(0.4, abs=0.08)
    for name in ("landmarks", "visibility", "pose"):
        assert many[name][negative].isnan().all()
        assert many[name][~negative].isfinite().all()
    # The mirrored half of the draws swaps the sign of yaw.
    yaw = torch.rad2deg(many["pose"][~negative, 2])
    assert set(yaw.round().tolist()) == {-20.0, 20.0}
    assert (yaw > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    # Turning changes the landmarks' box a little, so check the label where the overlap is clear.
    boxes = geometry.box_from_landmarks(many["landmarks"][~negative]).numpy()
    region = np.float32([-0.5, -0.5, 0.5, 0.5])
    overlaps = np.array([iou(box, region) for box in boxes])
    labels = many["detection"][~negative].numpy()
    assert overlaps.min() > 0.25
    assert (labels[overlaps > 0.62] == 1).all()
    assert np.isnan(labels[overlaps < 0.4]).all()
    assert np.isnan(labels).any()


def test_negatives_miss_the_face(regions):
    rng = np.random.default_rng(0)
    boxes = {sample.name: box for sample, box in zip(regions.samples, regions.boxes, strict=True)}
    beside = 0
    for _ in range(300):
        sample, box = regions._beside_face(rng)
        assert box[2] > box[0]
        if sample.faces:
            assert iou(box, boxes[sample.name]) < Regions.NEGATIVE
            beside += 1
    assert beside > 250


def test_photos_that_may_hold_a_second_face_give_no_negatives(drawn):
    faces, empty, store = drawn
    crowd = [dataclasses.replace(sample, faces=2) for sample in faces[:3]]
    loader = Regions([*crowd, *faces[3:]], empty, store, SIZE)
    assert loader._safe == [3, 4, 5]
    elsewhere = [dataclasses.replace(sample, source="helen") for sample in faces]
    assert Regions(elsewhere, empty, store, SIZE)._safe == []


def test_hard_negatives_come_from_their_boxes(drawn):
    faces, empty, store = drawn
    hard = {"negatives/1": np.float32([[10, 10, 60, 60]]), "negatives/unknown": np.float32([[0, 0, 9, 9]])}
    loader = Regions(faces, empty, store, SIZE, negatives=1.0, hard=hard)
    assert [(sample.name, box.tolist()) for sample, box in loader.hard] == [("1", [10, 10, 60, 60])]
    batch = loader.batch(40, np.random.default_rng(0))
    assert (batch["detection"] == 0).all()


def test_unlabelled_faces_are_no_regions(drawn):
    faces, empty, store = drawn
    holes = faces[1].landmarks.copy()
    holes[4] = np.nan
    odd = [dataclasses.replace(faces[0], landmarks=None), dataclasses.replace(faces[1], landmarks=holes)]
    assert [s.name for s in Regions([*odd, *faces[2:]], empty, store, SIZE).samples] == ["2", "3", "4", "5"]


def test_what_is_unknown_is_nan(drawn):
    faces, empty, store = drawn
    bare = [dataclasses.replace(sample, visibility=None, pose=None) for sample in faces]
    batch = Regions(bare, empty, store, SIZE).exact([0])
    assert batch["visibility"].isnan().all()
    assert batch["pose"].isnan().all()
    assert batch["landmark_weight"].tolist() == [[1.0] * 21]


def test_hidden_points_weigh_little(regions):
    weight = regions.exact([0])["landmark_weight"][0]
    assert weight[0] <= 0.1 + 1e-6
    assert weight[20] == 1
    assert (weight.diff() > 0).all()


def test_fixed_negatives_are_fixed(regions):
    assert torch.equal(regions.exact_negatives(4)["crops"], regions.exact_negatives(4)["crops"])
    assert (regions.exact_negatives(4)["detection"] == 0).all()


def test_random_boxes_touch_the_photo():
    rng = np.random.default_rng(0)
    for shape in ((40, 300, 3), (10, 10, 3), (1, 1, 3)):
        for _ in range(100):
            x1, y1, x2, y2 = random_box(np.zeros(shape, np.uint8), rng)
            assert min(x2, shape[1]) > max(x1, 0)
            assert min(y2, shape[0]) > max(y1, 0)


# --- aligned faces ---

CELEBA: tuple[Literal["celeba_wild", "celeba_aligned_small"], ...] = ("celeba_wild", "celeba_aligned_small")
LABELS = ("age", "female", "subject", "embedding")


def test_aligned_chips_are_the_canonical_face(drawn):
    faces, _, store = drawn
    loader = AlignedFaces(faces, store, SIZE, LABELS, {"0": 0, "2": 1})
    batch = loader.exact([0, 3, 5])
    for crop in batch["crops"]:
        assert_dots(crop, landmarks.CANONICAL * SIZE, mirrored=False)
    assert batch["age"].tolist() == [20, 50, 70]
    assert batch["female"].tolist() == [0, 1, 1]
    assert batch["subject"].tolist() == [0, -1, 1]
    assert batch["person"].tolist() == [0, 1, 2]
    torch.testing.assert_close(batch["embedding"][1], torch.from_numpy(faces[3].embedding))
    assert set(batch) == {"crops", *LABELS, "person"}


def test_only_the_asked_labels_are_in_the_batch(drawn):
    faces, _, store = drawn
    batch = AlignedFaces(faces, store, SIZE, ("smile",)).batch(3, np.random.default_rng(0))
    assert set(batch) == {"crops", "smile"}
    assert batch["smile"].isnan().all()


def test_a_face_without_embedding_is_nan(drawn):
    faces, _, store = drawn
    loader = AlignedFaces([dataclasses.replace(faces[0], embedding=None)], store, SIZE, ("embedding",))
    assert loader.exact([0])["embedding"].isnan().all()


def test_half_of_the_draws_are_mirrored(drawn):
    faces, _, store = drawn
    batch = AlignedFaces(faces, store, SIZE, ("age",), jitter=0.0).batch(120, np.random.default_rng(0))
    x, y = (landmarks.CANONICAL[12] * SIZE).astype(int)  # the left ear's dot is the right's when mirrored
    pixels = batch["crops"][:, :, y, x].int()
    is_left = (pixels - torch.tensor(colour(12))).abs().amax(dim=1) < 40
    is_right = (pixels - torch.tensor(colour(16))).abs().amax(dim=1) < 40
    assert (is_left ^ is_right).all()
    assert is_left.float().mean().item() == pytest.approx(0.5, abs=0.15)


def test_no_face_to_align(drawn):
    faces, _, store = drawn
    with pytest.raises(ValueError, match="no sample with landmarks"):
        AlignedFaces([dataclasses.replace(faces[0], landmarks=None)], store, SIZE, ("age",))


def test_rare_ages_come_up_more_often():
    def aged(*ages: float) -> list[Sample]:
        return [Sample("utkface", "", Path(), "train", age=age) for age in ages]

    samples = aged(*[25.0] * 90, *[80.0] * 10)
    chances = _age_chances(samples, 1.0)
    assert chances.sum() == pytest.approx(1)
    assert chances[-1] / chances[0] == pytest.approx(9, rel=1e-3)
    assert _age_chances(samples, 0.5)[-1] / _age_chances(samples, 0.5)[0] == pytest.approx(3, rel=1e-3)


# --- augmentation ---


def test_jitter_keeps_the_centre_and_turns_clockwise():
    for seed in range(5):
        matrix = jitter_matrix(100, np.random.default_rng(seed), 10, 0.1, 0)
        np.testing.assert_allclose(matrix @ (50, 50, 1), (50, 50, 1))
        assert np.linalg.det(matrix) > 0
    np.testing.assert_allclose(jitter_matrix(100, np.random.default_rng(0), 0, 0, 0), np.eye(3), atol=1e-12)


def test_degrading_keeps_shape_and_leaves_the_original():
    crop = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    before = crop.copy()
    changed = 0
    for seed in range(60):
        out = degrade(crop, np.random.default_rng(seed))
        assert out.shape == crop.shape
        assert out.dtype == np.uint8
        changed += not np.array_equal(out, crop)
    assert changed > 40
    np.testing.assert_array_equal(crop, before)


# --- the mixture ---


def test_a_batch_depends_on_seed_and_step_alone(drawn):
    faces, empty, store = drawn

    def build(seed: int) -> Mixture:
        loaders = {
            "aligned": AlignedFaces(faces, store, SIZE, LABELS, balance_age=0.3).batch,
            "regions": Regions(faces, empty, store, SIZE).batch,
        }
        return Mixture(loaders, {"aligned": 0.5, "regions": 0.5}, 3, seed)

    first, second = build(7), build(7)
    expected = [first.batch(step) for step in range(6)]
    assert {name for name, _ in expected} == {"aligned", "regions"}
    for step in (5, 0, 3, 1, 4, 2):  # another order
        name, batch = second.batch(step)
        assert name == expected[step][0]
        assert set(batch) == set(expected[step][1])
        for key, value in batch.items():
            torch.testing.assert_close(value, expected[step][1][key], rtol=0, atol=0, equal_nan=True)
    other = [build(8).batch(step) for step in range(6)]
    assert any(
        a[0] != b[0] or not torch.equal(a[1]["crops"], b[1]["crops"]) for a, b in zip(expected, other, strict=True)
    )


def test_shares():
    loaders = {name: (lambda count, _: {"crops": torch.zeros(count)}) for name in ("a", "b", "c")}
    mixture = Mixture(loaders, {"a": 1.0, "b": 3.0, "c": 0.0}, 2, 0)
    names = [mixture.batch(step)[0] for step in range(400)]
    assert names.count("b") == pytest.approx(300, abs=35)
    assert "c" not in names


def test_prefetch_keeps_the_order():
    made = list(prefetch(lambda step: (str(step), {"x": torch.tensor(step)}), 3, 30))
    assert [name for name, _ in made] == [str(step) for step in range(3, 30)]
    assert [batch["x"].item() for _, batch in made] == list(range(3, 30))
    assert list(prefetch(lambda step: (str(step), {}), 5, 5)) == []


def test_prefetch_is_ahead_but_not_far():
    made: list[int] = []
    batches = prefetch(lambda step: (str(step), {"x": torch.tensor(made.append(step) or 0)}), 0, 100, depth=3)
    next(batches)
    until = monotonic() + 10
    while len(made) < 4 and monotonic() < until:
        sleep(0.01)
    sleep(0.05)
    assert 4 <= len(made) <= 6
    batches.close()


def test_an_error_in_the_thread_comes_up_after_what_was_before_it():
    def make(step: int) -> tuple[str, dict[str, torch.Tensor]]:
        if step == 2:
            raise KeyError("photo lost")
        return str(step), {}

    seen = []
    with pytest.raises(KeyError, match="photo lost"):
        seen.extend(name for name, _ in prefetch(make, 0, 10))
    batches = prefetch(make, 0, 10)
    assert [next(batches)[0], next(batches)[0]] == ["0", "1"]
    with pytest.raises(KeyError):
        next(batches)


def test_leaving_early_ends_the_thread():
    ended = Event()

    class Last:
        def __del__(self) -> None:
            ended.set()

    def make(step: int, _keep: Last = Last()) -> tuple[str, dict[str, torch.Tensor]]:  # noqa: B008
        return str(step), {}

    batches = prefetch(make, 0, 10**6)
    next(batches)
    batches.close()
    del make, batches
    assert ended.wait(10)


def test_the_whole_mixture_of_a_recipe(world):
    shares = {"utkface": 0.25, "celeba": 0.25, "mtfl": 0.25, "regions": 0.25}
    data = load(MixtureConfig(shares, batch_size=2, validation_size=6), 64)
    assert set(data.mixture.loaders) == set(shares)
    trained = {s.subject for name in CELEBA for s in celeba.read(name) if s.split == "train"}
    assert data.subjects == len(trained) > 10
    seen = dict(map(data.mixture.batch, range(30)))
    assert set(seen) == set(shares)
    assert set(seen["utkface"]) == {"crops", "age", "female", "smile", "embedding"}
    assert seen["utkface"]["smile"].isnan().all()
    assert set(seen["celeba"]) == {"crops", "female", "smile", "subject", "person", "embedding"}
    assert set(seen["mtfl"]) == {"crops", "female", "smile", "embedding"}
    assert set(seen["regions"]) == {"crops", "detection", "landmarks", "landmark_weight", "visibility", "pose"}
    assert all(batch["crops"].shape == (2, 3, 64, 64) for batch in seen.values())
    assert set(data.validation) == {"utkface", "celeba", "mtfl", "helen", "regions"}
    assert all(batch["detection"].eq(1).all() for batch in data.validation["helen"])
    only = load(MixtureConfig({"regions": 1.0}, batch_size=2, validation_size=2), 64)
    assert set(only.mixture.loaders) == {"regions"}
