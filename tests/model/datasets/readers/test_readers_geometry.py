"""Readers of where faces are: boxes, ellipses, landmarks and pose, by data set."""

import sqlite3

import numpy as np
import pytest
from scipy.io import savemat

from model import landmarks
from model.datasets.machine_landmarks import read_machine_landmarks, write_machine_landmarks
from model.datasets.photo import ellipse_boxes
from model.datasets.readers import aflw, afw, celeba, fddb, pascal_faces, pts
from model.datasets.readers.directions import directions
from tests.model.evaluate.paper import archives


def test_marks_fill_what_a_set_lacks(copy):
    root = copy("celeba")
    points, name = archives.face_points(0) + 1, "000001.jpg"
    columns = {"landmarks": points, "visibility": np.full(21, 0.5), "pose": [1, 2, 3], "box": [1, 2, 3, 4]}
    write_machine_landmarks(root, [name], {key: np.asarray([value]) for key, value in columns.items()}, "digest")
    assert list(read_machine_landmarks(root)) == [name]
    marked, other = celeba.read_archive(root)[:2]
    five = list(landmarks.MTFL)
    assert np.array_equal(marked.landmarks[five], archives.face_points(0)[five].round())  # the human points stay
    rest = [i for i in range(21) if i not in five]
    assert np.allclose(marked.landmarks[rest], points[rest])
    assert marked.pose.tolist() == [1, 2, 3]
    assert marked.box.tolist() != [1, 2, 3, 4]  # the set has its own
    assert np.isnan(other.landmarks).sum() == 32
    (root / "marks.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"marks\.npz holds no machine landmarks"):
        celeba.read_archive(root)


class TestAflw:
    def test_by_face(self, whole):
        samples = aflw.read(whole / "aflw", 4)
        first = samples[0]
        assert first.name == "0/image00000.jpg#39341"
        points = archives.turned_points(0, *archives.aflw_angles(0))
        hidden = 12 if archives.aflw_angles(0)[2] > 0 else 16
        assert np.isnan(first.landmarks[hidden]).all()
        shown = [i for i in range(21) if i != hidden]
        assert np.allclose(first.landmarks[shown], points[shown], atol=1e-3)
        assert first.visibility.tolist() == [float(i != hidden) for i in range(21)]
        assert np.array_equal(first.box, archives.box_of(points).round())
        assert [s.female for s in samples[:2]] == [0, 1]

    def test_angles_have_our_signs_whatever_the_files_are(self, tmp_path):
        for i, signs in enumerate([(1, 1, 1), (-1, 1, -1), (-1, -1, 1)]):
            archives.aflw(tmp_path / str(i), signs=signs)
            samples = aflw.read(tmp_path / str(i), 4)
            expected = np.array([archives.aflw_angles(k) for k in range(25)])
            assert np.allclose(np.stack([s.pose for s in samples]), expected, atol=1e-3), signs

    def test_photos_not_faces_are_held_out(self, whole):
        samples = aflw.read(whole / "aflw", 4)
        assert len({s.path for s in samples if s.split == "test"}) == 4
        together = [s for s in samples if s.faces == 2]
        assert len(together) == 2
        assert len({s.split for s in together}) == 1
        assert [s.split for s in samples] == [s.split for s in aflw.read(whole / "aflw", 4)]

    def test_a_face_without_a_rectangle_takes_its_ellipse(self, whole):
        sample = next(s for s in aflw.read(whole / "aflw", 4) if s.name.endswith("#39344"))
        expected = archives.box_of(archives.turned_points(3, *archives.aflw_angles(3))).round()
        assert np.allclose(sample.box, expected, atol=1)
        assert len(aflw.ellipses(whole / "aflw")) == 25

    def test_another_database(self, tmp_path):
        (tmp_path / "data" / "flickr").mkdir(parents=True)
        sqlite3.connect(tmp_path / "data" / "aflw.sqlite").close()
        with pytest.raises(ValueError, match=r"aflw\.sqlite is not AFLW's database: no such table"):
            aflw.read(tmp_path)
        (tmp_path / "data" / "aflw.sqlite").write_bytes(b"no database" * 200)
        with pytest.raises(ValueError, match="not a database"):
            aflw.read(tmp_path)


def test_directions_without_evidence():
    assert directions(np.full((3, 21, 2), np.nan), np.ones((3, 3))).tolist() == [1, 1, 1]
    assert directions(np.zeros((0, 21, 2)), np.zeros((0, 3))).tolist() == [1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_ellipse_boxes_hold_their_ellipses(seed):
    rng = np.random.default_rng(seed)
    ellipse = np.array([*rng.uniform(5, 30, 2), rng.uniform(-4, 4), *rng.uniform(0, 50, 2)])
    turn = np.linspace(0, 2 * np.pi, 20001)
    x = ellipse[0] * np.cos(turn) * np.cos(ellipse[2]) - ellipse[1] * np.sin(turn) * np.sin(ellipse[2]) + ellipse[3]
    y = ellipse[0] * np.cos(turn) * np.sin(ellipse[2]) + ellipse[1] * np.sin(turn) * np.cos(ellipse[2]) + ellipse[4]
    assert np.allclose(ellipse_boxes(ellipse)[0], [x.min(), y.min(), x.max(), y.max()], atol=1e-3)


def test_fddb(copy):
    root = copy("fddb")
    photos = fddb.read_photos(root)
    assert [p.fold for p in photos] == [f for f in range(1, 11) for _ in range(2)]
    assert np.allclose(photos[0].ellipses, archives.fddb_ellipse(2), atol=1e-5)
    path = root / "FDDB-folds" / "FDDB-fold-04-ellipseList.txt"
    lines = path.read_text().splitlines()
    for broken in (lines[:2], [lines[0], "2", *lines[2:3]], [lines[0], "1", "1 2 3"]):
        path.write_text("\n".join(broken))
        with pytest.raises(ValueError, match=r"ellipseList\.txt is no list of ellipses"):
            fddb.read_photos(root)
    path.write_text("\n".join(lines[:3]))
    with pytest.raises(ValueError, match="fold 4 has no ellipses of"):
        fddb.read_photos(root)


@pytest.mark.parametrize("new", [True, False])
def test_afw(tmp_path, new):
    archives.afw(tmp_path, new=new)
    samples = afw.read(tmp_path)
    assert [s.name for s in samples[:3]] == ["134212_1.jpg#0", "134212_1.jpg#1", "134213_1.jpg#0"]
    yaws = [15.0 * (i % 7 - 3) for i in range(14)]
    assert [float(s.pose[2]) for s in samples[1:]] == yaws  # our sign
    assert np.allclose(samples[0].box, archives.box_of(archives.turned_points(0, 0, 0, yaws[0])).round(), atol=1e-3)
    points = archives.turned_points(3, 0, 0, 0)
    assert np.allclose(samples[4].landmarks[list(afw.POINTS)], points[list(afw.POINTS)], atol=1e-3)
    assert samples[4].visibility.sum() == 6
    assert samples[0].visibility.sum() == 5  # the hidden eye of a turned face
    photos = afw.read_photos(tmp_path)
    assert (len(photos), len(photos[0].boxes), photos[0].sample.name) == (14, 2, "134212_1.jpg")


def test_afw_points_in_another_order(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SIX", [14, 7, 10, 17, 18, 19])
    archives.afw(tmp_path)
    with pytest.raises(ValueError, match="six points are not in the order expected"):
        afw.read(tmp_path)


def test_afw_of_something_else(tmp_path):
    archives.photo(tmp_path / "testimages" / "a.jpg", archives.face_points(0))
    savemat(tmp_path / "testimages" / "anno.mat", {"other": 1})
    with pytest.raises(ValueError, match=r"anno\.mat holds no AFW annotation"):
        afw.read(tmp_path)


@pytest.mark.parametrize("as_text", [False, True])
def test_pascal_faces(tmp_path, as_text):
    archives.pascal_faces(tmp_path, as_text=as_text)
    photos = pascal_faces.read_photos(tmp_path)
    assert [len(p.boxes) for p in photos] == [1, 2, 1, 1, 1, 1]
    assert photos[1].difficult.tolist() == [False, True]
    assert photos[1].boxes[1].tolist() == [4, 5, 20, 24]
    assert np.allclose(photos[0].boxes[0], archives.box_of(archives.face_points(0)).round())


def test_pascal_faces_of_something_else(tmp_path):
    archives.photo(tmp_path / "images" / "a.jpg", archives.face_points(0))
    savemat(tmp_path / pascal_faces.FILE, {"other": 1})
    with pytest.raises(ValueError, match="holds no Annotations"):
        pascal_faces.read(tmp_path)
    (tmp_path / pascal_faces.FILE).unlink()
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "a.txt").write_text("% bbGt version=3\nFace 1 2\n")
    with pytest.raises(ValueError, match=r"a\.txt is no bbGt annotation"):
        pascal_faces.read(tmp_path)


def test_300w_layout(tmp_path):
    archives.pts(tmp_path)
    samples = pts.read(tmp_path)
    assert [(s.name, s.split) for s in samples] == [
        ("afw/1_1.jpg", "train"),
        ("helen/testset/3_1.jpg", "test"),
        ("helen/trainset/2_1.jpg", "train"),
        ("ibug/image_4.png", "test"),
    ]
    nineteen = [i for i in range(21) if i not in landmarks.EARS]
    assert np.allclose(samples[0].landmarks[nineteen], archives.face_points(0)[nineteen], atol=1e-3)
    assert np.isnan(samples[0].landmarks[list(landmarks.EARS)]).all()
    (tmp_path / "afw" / "1_1.pts").write_text("1 2\n")
    with pytest.raises(ValueError, match="68 points expected"):
        pts.read(tmp_path)
    archives.photo(tmp_path / "bare" / "a.jpg", archives.face_points(0))
    with pytest.raises(FileNotFoundError, match=r"no photo below .* has a \.pts"):
        pts.read(tmp_path / "bare")
