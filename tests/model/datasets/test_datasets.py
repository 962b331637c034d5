"""Readers on sets drawn in their own layout, the decoded store, what is held out, what is missing."""

import io
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from model import landmarks
from model.datasets import Sample, data_dir, held_out, mixture, with_machine_labels
from model.datasets.readers import backgrounds, celeba, helen, mtfl, utkface
from model.datasets.store import PhotoStore, read_photo
from tests.model.conftest import draw_face, face_points, write


def by_name(samples: list[Sample]) -> dict[str, Sample]:
    assert len({sample.name for sample in samples}) == len(samples)
    return {sample.name: sample for sample in samples}


# --- readers ---


def test_utkface(world):
    samples = by_name(utkface.read())
    assert len(samples) == 43
    sample = samples["train/23_1_3_20170003.webp"]
    assert (sample.source, sample.age, sample.female, sample.group) == ("utkface", 23, 1, "indian")
    assert sample.split in ("train", "val")
    assert np.isnan(sample.smile)
    assert sample.subject is None
    assert samples["test/41_1_0_20180001.webp"].split == "test"
    np.testing.assert_allclose(sample.landmarks, face_points(3), atol=1e-3)
    np.testing.assert_allclose(sample.pose, [5, -10, 20])
    assert sample.embedding.shape == (128,)
    assert sample.path.is_file()


def test_facing_gives_visibility(world):
    """127 × cosine towards the camera: visible over .15, hidden under -.15, a ramp between."""
    visibility = utkface.read()[0].visibility
    cosine = np.linspace(-127, 127, 21).astype(np.int8) / 127
    assert (visibility[cosine > 0.15] == 1).all()
    assert (visibility[cosine < -0.15] == 0).all()
    assert visibility[10] == pytest.approx(0.5)
    assert (np.diff(visibility) >= 0).all()


@pytest.mark.parametrize(("name", "count"), [("celeba_wild", 40), ("celeba_aligned_small", 48)])
def test_celeba(world, name, count):
    samples = by_name(celeba.read(name))
    assert len(samples) == count
    first, second = samples["train/000000.webp"], samples["train/000001.webp"]
    assert (first.female, first.smile, first.subject) == (1, 1, "100")
    assert (second.female, second.smile, second.subject) == (0, 0, "100")
    assert (first.glasses, second.glasses) == (0, 1)
    assert first.source == name
    assert {s.split for n, s in samples.items() if n.startswith("test/")} <= {"test"}


def test_nobody_is_in_celebas_train_and_validation_both(world):
    samples = celeba.read("celeba_wild") + celeba.read("celeba_aligned_small")
    people = {split: {s.subject for s in samples if s.split == split} for split in ("train", "val")}
    assert people["train"]
    assert people["val"]
    assert not people["train"] & people["val"]


def test_mtfl(world):
    samples = by_name(mtfl.read())
    assert len(samples) == 30
    assert {s.split for s in samples.values()} == {"train", "val"}
    first, second = samples["photo0.webp"], samples["photo1.webp"]
    assert (first.female, first.smile, first.group) == (0, 0, "1")  # gender 1 male, smile 2 no
    assert (second.female, second.smile, second.group) == (1, 1, "2")
    assert (first.glasses, second.glasses) == (0, 1)
    np.testing.assert_allclose(first.landmarks, face_points(0), atol=1e-3)
    assert first.box.shape == (4,)


def test_human_points_stay_and_the_mesh_fills_the_rest(world):
    points = np.full((21, 2), np.nan, np.float32)
    points[3] = 1, 2
    sample = Sample("mtfl_net", "photo4.webp", Path("photo4.webp"), "train", landmarks=points)
    [labelled] = with_machine_labels([sample], "mtfl_net")
    assert labelled.landmarks[3].tolist() == [1, 2]
    others = [i for i in range(21) if i != 3]
    np.testing.assert_allclose(labelled.landmarks[others], face_points(4)[others], atol=1e-3)


def test_a_photo_the_labellers_found_nothing_in_stays_unlabelled(world):
    [sample] = with_machine_labels([Sample("utkface", "train/no.webp", Path("no.webp"), "train")], "utkface")
    assert sample.landmarks is None
    assert sample.embedding is None
    assert sample.visibility is None


def test_helen(world):
    samples = by_name(helen.read())
    assert len(samples) == 44
    assert samples["helen/testset/40_1.webp"].split == "test"
    assert {s.split for n, s in samples.items() if "train" in n} == {"train", "val"}
    np.testing.assert_allclose(samples["helen/trainset/7_1.webp"].landmarks, face_points(7), atol=1e-3)
    moved = samples["helen/trainset/7_1.webp"].path.with_suffix(".pts")
    human = landmarks.from_68(helen.read_pts(moved))
    np.testing.assert_allclose(human, face_points(7), atol=1e-3)


def test_points_with_and_without_a_header(tmp_path):
    rows = "\n".join(f"{i}.5 {i * 2}" for i in range(68))
    (tmp_path / "plain.pts").write_text(rows)
    (tmp_path / "full.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    plain, full = helen.read_pts(tmp_path / "plain.pts"), helen.read_pts(tmp_path / "full.pts")
    np.testing.assert_array_equal(plain, full)
    assert plain[10].tolist() == [10.5, 20]
    (tmp_path / "short.pts").write_text("\n".join(rows.splitlines()[:-1]))
    with pytest.raises(ValueError, match=r"short\.pts: 68 points expected, found 67"):
        helen.read_pts(tmp_path / "short.pts")


def test_backgrounds(world):
    for name in ("negatives", "negatives_objects"):
        samples = backgrounds.read(name)
        assert len(samples) == 34
        assert {sample.faces for sample in samples} == {0}
        assert {sample.split for sample in samples} == {"train", "val", "test"}
        assert all((sample.split == "test") == sample.name.startswith("test/") for sample in samples)
    assert backgrounds.read(backgrounds.WALLPAPERS) == []


def test_wallpapers_lie_anywhere_in_their_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path))
    for name in ("a.JPG", "deep/er/b.png", "notes.txt"):
        (tmp_path / "wallpapers" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wallpapers" / name).touch()
    assert [s.name for s in backgrounds.read("wallpapers")] == ["a.JPG", "deep/er/b.png"]


def test_trainings_read_drawn_emoji_where_they_are_there(world, tmp_path, monkeypatch):
    assert backgrounds.read(backgrounds.EMOJI) == []
    before = mixture.photos()[1]
    shutil.copytree(world.cache, tmp_path / "cache")
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("train/0.webp", "test/1.webp"):
        write(tmp_path / "cache" / "data" / "emoji" / name, draw_face(face_points(0)))
    samples = backgrounds.read(backgrounds.EMOJI)
    assert [sample.faces for sample in samples] == [0, 0]
    assert {sample.name: sample.split == "test" for sample in samples} == {"train/0.webp": False, "test/1.webp": True}
    assert len(mixture.photos()[1]) == len(before) + 2


# --- splits, folders, labels ---


def test_held_out_is_stable_and_of_the_asked_share():
    assert [n for n in range(60) if held_out(f"celeba {n}", 0.1)] == [11, 58]
    assert sum(held_out(str(n), 0.1) for n in range(5000)) == pytest.approx(500, abs=70)
    assert not any(held_out(str(n), 0.0) for n in range(100))
    assert all(held_out(str(n), 1.0) for n in range(100))
    assert all(held_out(str(n), 0.2) for n in range(300) if held_out(str(n), 0.1))


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FACE_SHARED_DIR", str(tmp_path / "shared"))
    return tmp_path


def test_a_missing_set_is_named(empty):
    with pytest.raises(FileNotFoundError, match=r"data set utkface: neither .* nor .*utkface\.tar"):
        utkface.read()


def test_missing_labels_are_named(empty):
    (empty / "cache" / "data" / "utkface").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"mesh_utkface\.npz"):
        utkface.read()


def make_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def test_a_tar_is_unpacked_once(empty):
    tar = empty / "shared" / "data" / "drawn.tar"
    make_tar(tar, {"train/a.txt": b"one", "b.txt": b"two"})
    folder = data_dir("drawn")
    assert folder == empty / "cache" / "data" / "drawn"
    assert (folder / "train" / "a.txt").read_text() == "one"
    tar.unlink()
    (folder / "b.txt").write_text("changed")
    assert data_dir("drawn") == folder
    assert (folder / "b.txt").read_text() == "changed"
    assert [p.name for p in folder.parent.iterdir()] == ["drawn"]


def test_half_an_unpacking_does_not_count(empty):
    make_tar(empty / "shared" / "data" / "drawn.tar", {"a.txt": b"one"})
    (empty / "cache" / "data" / "drawn.partial").mkdir(parents=True)
    assert (data_dir("drawn") / "a.txt").read_text() == "one"


def test_a_tar_cannot_write_elsewhere(empty):
    make_tar(empty / "shared" / "data" / "evil.tar", {"../../outside.txt": b"x"})
    with pytest.raises(tarfile.FilterError):
        data_dir("evil")
    assert not list(empty.rglob("outside.txt"))


# --- decoded photos ---


def test_the_store_gives_back_what_was_read(tmp_path, monkeypatch):
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((5, 7), (1, 1), (30, 2))]
    samples = []
    for i, photo in enumerate(photos):
        write(tmp_path / f"{i}.webp", photo)
        samples.append(Sample("drawn", f"{i}", tmp_path / f"{i}.webp", "train"))
    store = PhotoStore(samples)
    for sample, photo in zip(samples, photos, strict=True):
        np.testing.assert_array_equal(store[sample], photo)
    for sample in samples:
        sample.path.unlink()
    again = PhotoStore(samples)  # found again: the photos themselves are gone
    np.testing.assert_array_equal(again[samples[2]], photos[2])
    with pytest.raises(KeyError):
        again[Sample("drawn", "3", tmp_path, "train")]
    with pytest.raises(ValueError, match="not a readable photo"):
        PhotoStore(samples[:1])
    with pytest.raises(ValueError, match="read-only"):
        again[samples[0]][0, 0] = 0


def test_half_a_store_is_built_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FACE_CACHE_DIR", str(tmp_path / "cache"))
    write(tmp_path / "a.webp", draw_face(face_points(0)))
    broken = Sample("drawn", "b", tmp_path / "b.webp", "train")
    samples = [Sample("drawn", "a", tmp_path / "a.webp", "train"), broken]
    with pytest.raises(ValueError, match="not a readable photo"):
        PhotoStore(samples)
    shutil.copy(tmp_path / "a.webp", broken.path)
    np.testing.assert_array_equal(PhotoStore(samples)[broken], draw_face(face_points(0)))


def test_photos_are_rgb(tmp_path):
    photo = np.zeros((8, 8, 3), np.uint8)
    photo[..., 0] = 200
    cv2.imwrite(str(tmp_path / "red.png"), photo[:, :, ::-1])
    assert read_photo(tmp_path / "red.png")[0, 0].tolist() == [200, 0, 0]
    cv2.imwrite(str(tmp_path / "grey.png"), photo[:, :, 0])
    assert read_photo(tmp_path / "grey.png").shape == (8, 8, 3)
    (tmp_path / "text.png").write_text("no photo")
    with pytest.raises(ValueError, match=r"text\.png: not a readable photo"):
        read_photo(tmp_path / "text.png")
