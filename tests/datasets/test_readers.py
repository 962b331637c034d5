"""Every reader on a small copy of its archive: what it yields, and what it says when something is missing or broken."""

import csv
import math
import shutil
import sqlite3

import numpy as np
import pytest
from scipy.io import savemat

from model import landmarks
from model.datasets import (
    adience,
    aflw,
    afw,
    casia,
    celeba,
    fddb,
    fgnet,
    fotw,
    ijba,
    imdb_wiki,
    lap,
    lfw,
    manifest,
    morph,
    pascal_faces,
    pts,
)
from model.datasets.directions import directions
from model.datasets.marks import read_marks, write_marks
from model.datasets.photo import ellipse_boxes
from model.datasets.store import read_photo
from tests.protocols import archives

READERS = {
    "casia": casia.read,
    "morph": morph.read,
    "imdb_wiki": imdb_wiki.read,
    "adience": adience.read,
    "celeba": celeba.read_archive,
    "aflw": lambda root: aflw.read(root, 4),
    "fddb": fddb.read,
    "afw": afw.read,
    "pascal_faces": pascal_faces.read,
    "fotw": fotw.read,
    "lap": lap.read,
    "fgnet": fgnet.read,
    "ijba": ijba.read,
}
MODULES = [
    casia,
    morph,
    imdb_wiki,
    adience,
    celeba,
    aflw,
    fddb,
    afw,
    pascal_faces,
    fotw,
    lap,
    fgnet,
    ijba,
    lfw,
    pts,
    manifest,
]
COUNTS = {"casia": 12, "morph": 8, "imdb_wiki": 12, "adience": 10, "celeba": 16, "aflw": 25, "fddb": 20, "afw": 15,
          "pascal_faces": 7, "fotw": 12, "lap": 10, "fgnet": 16, "ijba": 36}  # fmt: skip


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    return archives.build_all(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of one archive that a test may damage."""

    def make(name):
        shutil.copytree(whole / name, tmp_path / name)
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", READERS)
def test_every_reader_yields_samples_with_photos(whole, name):
    samples = READERS[name](whole / name)
    assert len(samples) == COUNTS[name]
    assert len({s.name for s in samples}) == len(samples)
    assert {s.source for s in samples} == {name}
    assert all(read_photo(s.path).shape == (archives.SIDE, archives.SIDE, 3) for s in samples)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_reader_states_its_terms(module):
    assert isinstance(module.TERMS, str)
    assert module.TERMS


@pytest.mark.parametrize("name", READERS)
def test_an_empty_folder_is_named(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"data set {name}: .*{tmp_path.name}.* missing"):
        READERS[name](tmp_path)


def test_each_missing_file_is_named(whole, copy):
    """Every file that labels come from, taken away: the error names it."""
    optional = {"genders.txt", "morph_2008_nonCommercial.csv"}
    for name, read in READERS.items():
        root = copy(name)
        labels = [p for p in root.rglob("*") if p.is_file() and p.suffix in {".txt", ".csv", ".mat", ".sqlite"}]
        for path in [p for p in labels if p.name not in optional][:12]:
            moved = path.rename(path.with_suffix(".away"))
            with pytest.raises(FileNotFoundError, match=path.name.replace(".", r"\.")) as caught:
                read(root)
            assert f"data set {name}" in str(caught.value)
            moved.rename(path)


@pytest.mark.parametrize(
    "name", ["imdb_wiki", "adience", "celeba", "aflw", "fddb", "afw", "pascal_faces", "fotw", "lap"]
)
def test_a_missing_photo_is_named(copy, name):
    root = copy(name)
    lost = READERS[name](root)[1].path
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=lost.name.replace(".", r"\.")):
        READERS[name](root)


def test_casia(copy):
    root = copy("casia")
    samples = {s.name: s for s in casia.read(root)}
    first = samples["0000045/001.jpg"]
    assert (first.subject, first.female, samples["0000046/001.jpg"].female) == ("0000045", 1, 0)
    assert first.landmarks is None
    (root / "overlap.txt").write_text("0000045\n")
    assert {s.subject for s in casia.read(root)} == {"0000046", "0000047", "0000048"}
    (root / "genders.txt").unlink()
    assert all(math.isnan(s.female) for s in casia.read(root))
    (root / "genders.txt").write_text("0000046 x\n")
    with pytest.raises(ValueError, match="gender of 0000046 is neither f nor m"):
        casia.read(root)


def test_marks_fill_what_a_set_lacks(copy):
    root = copy("celeba")
    points, name = archives.face_points(0) + 1, "000001.jpg"
    columns = {"landmarks": points, "visibility": np.full(21, 0.5), "pose": [1, 2, 3], "box": [1, 2, 3, 4]}
    write_marks(root, [name], {key: np.asarray([value]) for key, value in columns.items()}, "digest")
    assert list(read_marks(root)) == [name]
    marked, other = celeba.read_archive(root)[:2]
    five = list(landmarks.MTFL)
    assert np.array_equal(marked.landmarks[five], archives.face_points(0)[five].round())  # the human points stay
    rest = [i for i in range(21) if i not in five]
    assert np.allclose(marked.landmarks[rest], points[rest])
    assert marked.pose.tolist() == [1, 2, 3]
    assert marked.box.tolist() != [1, 2, 3, 4]  # the set has its own
    assert np.isnan(other.landmarks).sum() == 32
    (root / "marks.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"marks\.npz holds no marks"):
        celeba.read_archive(root)


def test_morph(copy):
    root = copy("morph")
    samples = {s.name: s for s in morph.read(root)}
    one = samples["Album2/009056_1F29.JPG"]
    assert (one.age, one.female, one.subject, one.group) == (29, 1, "009056", "B")
    assert samples["Album2/009055_0M20.JPG"].female == 0
    (root / "morph_2008_nonCommercial.csv").unlink()
    assert {s.group for s in morph.read(root)} == {None}
    archives.photo(root / "Album2" / "snapshot.JPG", archives.face_points(0))
    with pytest.raises(ValueError, match=r"snapshot\.JPG: the name is no"):
        morph.read(root)


def test_imdb_wiki(whole):
    samples = imdb_wiki.read(whole / "imdb_wiki")
    assert [s.path.parts[-3] for s in samples] == ["imdb"] * 6 + ["wiki"] * 6
    # born 1 January, 1 February, … 1970, photographed in the middle of 2000, 2001, …
    assert [s.age for s in samples[:6]] == [30, 31, 32, 33, 34, 35]
    assert [s.female for s in samples[:6]] == [1, 0, 1, 0, 1, 0]  # 0 is female there
    assert np.allclose(samples[0].box, archives.box_of(archives.face_points(0)), atol=1e-3)


def test_imdb_wiki_cropped(copy):
    root = copy("imdb_wiki")
    for part in ("imdb", "wiki"):
        (root / part).rename(root / f"{part}_crop")
    samples = imdb_wiki.read(root)
    assert samples[0].name.startswith("imdb_crop/00/")
    assert samples[0].box is None


@pytest.mark.parametrize(
    ("day", "year", "age"),
    [
        (719529, 2000, 30),  # 1 January 1970
        (719529 + 181, 2000, 30),  # 1 July 1970: the birthday is that day
        (719529 + 182, 2000, 29),  # 2 July
        (0, 2000, None),
        (float("nan"), 2000, None),
        (366, 2000, None),
    ],
)
def test_imdb_wiki_ages(day, year, age):
    assert imdb_wiki.age_at(day, year) == age


def test_imdb_wiki_cleaning():
    assert imdb_wiki.clean(30, 0.0, 1.0, float("nan"))
    assert not imdb_wiki.clean(30, 0.0, 0.99, float("nan"))
    assert not imdb_wiki.clean(30, 0.0, float("-inf"), float("nan"))
    assert not imdb_wiki.clean(30, 0.0, float("inf"), float("nan"))
    assert not imdb_wiki.clean(30, 0.0, 3.0, 1.0)
    assert not imdb_wiki.clean(30, float("nan"), 3.0, float("nan"))
    assert not imdb_wiki.clean(101, 0.0, 3.0, float("nan"))
    assert not imdb_wiki.clean(-1, 0.0, 3.0, float("nan"))
    assert not imdb_wiki.clean(None, 0.0, 3.0, float("nan"))


def test_imdb_wiki_of_one_row_and_of_none(tmp_path):
    for part in ("imdb", "wiki"):
        archives.photo(tmp_path / part / "00" / "a.jpg", archives.face_points(0))
        structure = {"dob": 719529.0, "photo_taken": 2000.0, "full_path": "00/a.jpg", "gender": 1.0, "face_score": 2.0}
        structure |= {"second_face_score": np.nan, "face_location": np.array([[1.0, 1.0, 50.0, 60.0]])}
        savemat(tmp_path / part / f"{part}.mat", {part: structure})
    samples = imdb_wiki.read(tmp_path)
    assert [(s.age, s.female, s.box.tolist()) for s in samples] == [(30, 0, [0, 0, 50, 60])] * 2
    savemat(tmp_path / "wiki" / "wiki.mat", {"wiki": {"dob": 1.0}})
    with pytest.raises(ValueError, match=r"wiki\.mat has no wiki\.photo_taken"):
        imdb_wiki.read(tmp_path)
    (tmp_path / "wiki" / "wiki.mat").write_bytes(b"no matrix at all" * 20)
    with pytest.raises(ValueError, match=r"wiki\.mat is no readable \.mat file"):
        imdb_wiki.read(tmp_path)


def test_adience(copy):
    root = copy("adience")
    samples = adience.read(root)
    assert [s.age for s in samples[:3]] == [28.5, 1, 70]
    assert math.isnan(samples[3].age)
    assert [s.age for s in samples[4:6]] == [35, 15.5]
    assert [s.female for s in samples[:2]] == [1, 0]
    assert math.isnan(samples[2].female)
    assert math.isnan(samples[3].female)
    assert samples[0].group == "(25, 32)"
    assert [s.name[0] for s in samples] == list("0011223344")
    path = root / "fold_2_data.txt"
    path.write_text(path.read_text().replace("35", "old", 1))
    with pytest.raises(ValueError, match="'old' is no age"):
        adience.read(root)
    path.write_text("user_id\n1\t2\n")
    with pytest.raises(ValueError, match=r"fold_2_data\.txt, line 2: no face"):
        adience.read(root)


def test_celeba_archive(copy):
    root = copy("celeba")
    samples = celeba.read_archive(root)
    assert [s.female for s in samples[:4]] == [1, 0, 1, 0]
    assert [s.smile for s in samples[:4]] == [1, 0, 0, 1]
    assert [s.subject for s in samples[:4]] == ["100", "100", "101", "101"]
    assert [s.split == "test" for s in samples] == [i >= 12 for i in range(16)]
    assert np.allclose(samples[2].box, archives.box_of(archives.face_points(2)).round(), atol=1)
    path = root / "Anno" / "list_bbox_celeba.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match=r"list_bbox_celeba\.txt does not hold what its first two lines announce"):
        celeba.read_archive(root)
    path.write_text("\n".join(["15", *lines[1:-1]]))
    with pytest.raises(ValueError, match="boxes and attributes are not of the same photos"):
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


def test_fotw(copy):
    root = copy("fotw")
    samples = fotw.read(root)
    assert [s.split for s in samples] == ["train"] * 6 + ["test"] * 6
    assert [s.female for s in samples[:2]] == [0, 1]
    assert math.isnan(samples[2].female)
    assert [s.smile for s in samples[:3]] == [0, 1, 0]
    assert np.allclose(samples[0].box, archives.box_of(archives.face_points(0)), atol=0.2)
    path = root / "valid_gt.csv"
    text = path.read_text()
    path.write_text(text.replace("smile", "laugh", 1))
    with pytest.raises(ValueError, match="has no column smile"):
        fotw.read(root)
    path.write_text(text + "valid_1.jpg,1,2,3,4,7,0\n")
    with pytest.raises(ValueError, match=r"valid_gt\.csv, line 8: no face"):
        fotw.read(root)


def test_lap(copy):
    root = copy("lap")
    samples = lap.read(root)
    assert [(s.split, s.age, s.age_sigma) for s in samples[4:6]] == [("train", 48, 4.5), ("test", 20, 2.5)]
    (root / "Train.csv").write_text("image_1.jpg;20;0\n")
    with pytest.raises(ValueError, match=r"Train\.csv, line 1: a deviation of 0\.0"):
        lap.read(root)
    (root / "Train.csv").write_text("image_1.jpg,20,3\n")
    with pytest.raises(ValueError, match=r"Train\.csv, line 1: no photo;mean;deviation"):
        lap.read(root)


def test_fgnet(copy):
    root = copy("fgnet")
    samples = fgnet.read(root)
    assert [(s.subject, s.age) for s in samples[:4]] == [("001", 2), ("001", 18), ("001", 18), ("001", 44)]
    assert np.allclose(samples[0].box, archives.box_of(archives.face_points(0)), atol=1e-2)
    shutil.rmtree(root / "points")
    assert fgnet.read(root)[0].box is None
    (root / "images" / "001A02.JPG").rename(root / "images" / "001B02.JPG")
    with pytest.raises(ValueError, match=r"001B02\.JPG: the name is no"):
        fgnet.read(root)


class TestIjba:
    def test_splits(self, whole):
        one = ijba.read_verification(whole / "ijba", 1)
        assert {t.subject for t in one.train} == {"1", "2", "3"}
        assert {t.subject for t in one.templates} == {"4", "5", "6"}
        assert len(one.pairs) == 9
        template = one.templates[0]
        assert [face.path.name for face in template.faces] == ["40.jpg", "40_0.png", "40_1.png"]
        assert [face.group for face in template.faces] == ["400", "401", "401"]
        many = ijba.read_identification(whole / "ijba", 10)
        assert ({t.subject for t in many.gallery}, {t.subject for t in many.probes}) == ({"4", "5"}, {"4", "5", "6"})

    def test_what_is_wrong_is_said(self, copy):
        root = copy("ijba")
        path = root / "IJB-A_11_sets/split1/verify_comparisons_1.csv"
        path.write_text("7,8\n7,999\n")
        with pytest.raises(ValueError, match=r"verify_comparisons_1\.csv, line 2: no pair"):
            ijba.read_verification(root, 1)
        path = root / "IJB-A_1N_sets/split1/search_probe_1.csv"
        with path.open() as file:
            table = list(csv.DictReader(file))
        archives.table(path, list(table[0]), [[*row.values()] for row in [table[0], table[0] | {"SUBJECT_ID": "9"}]])
        with pytest.raises(ValueError, match="is of two people"):
            ijba.read_identification(root, 1)
        archives.table(path, list(table[0]), [[*(table[0] | {"FACE_X": "left"}).values()]])
        with pytest.raises(ValueError, match=r"search_probe_1\.csv, line 2: no face"):
            ijba.read_identification(root, 1)
        archives.table(path, ["TEMPLATE_ID"], [[1]])
        with pytest.raises(ValueError, match="has no column SUBJECT_ID"):
            ijba.read_identification(root, 1)
        (root / "images/img/40.jpg").unlink()
        with pytest.raises(FileNotFoundError, match=r"40\.jpg missing"):
            ijba.check_photos(root, ijba.read_verification(root, 2).templates[0].faces)


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


class TestManifest:
    def write(self, root, columns, *rows):
        archives.table(root / "manifest.csv", columns.split(), [row.split(",") for row in rows])
        for name in ("a.jpg", "b.jpg"):
            archives.photo(root / name, archives.face_points(0))
        return manifest.read(root)

    def test_everything(self, tmp_path):
        archives.pts(tmp_path)
        columns = "photo split x1 y1 x2 y2 age age_sigma gender smile subject group roll pitch yaw points"
        full = "a.jpg,test,1,2,30,40,25.5,2,f,1,Ann,home,1,2,3,afw/1_1.pts"
        one, bare, again = self.write(tmp_path, columns, full, "b.jpg" + "," * 15, "a.jpg" + "," * 15)
        assert (one.split, one.age, one.age_sigma, one.female, one.smile) == ("test", 25.5, 2, 1, 1)
        assert (one.subject, one.group, one.box.tolist(), one.pose.tolist()) == (
            "Ann",
            "home",
            [1, 2, 30, 40],
            [1, 2, 3],
        )
        assert np.isfinite(one.landmarks).sum() == 38
        assert (bare.split, bare.box, bare.pose, bare.landmarks, bare.subject) == ("train", None, None, None, None)
        assert all(math.isnan(value) for value in (bare.age, bare.female, bare.smile))
        assert (one.name, again.name) == ("a.jpg", "a.jpg#1")

    @pytest.mark.parametrize(
        ("columns", "row", "said"),
        [
            ("photo colour", "a.jpg,red", "columns are photo and any of"),
            ("age", "3", "columns are photo and any of"),
            ("photo age", "a.jpg,old", "line 2: could not convert"),
            ("photo age", "a.jpg,inf", "line 2: age 'inf' is no number"),
            ("photo gender", "a.jpg,woman", "line 2: gender 'woman' is none of f, m"),
            ("photo split", "a.jpg,all", "line 2: split 'all' is none of"),
            ("photo x1", "a.jpg,3", "line 2: x1, y1, x2, y2 go together"),
            ("photo", "../a.jpg", "line 2: '../a.jpg' is no path below"),
            ("photo", "/etc/hostname", "line 2: '/etc/hostname' is no path below"),
        ],
    )
    def test_what_is_refused(self, tmp_path, columns, row, said):
        with pytest.raises(ValueError, match=said):
            self.write(tmp_path, columns, row)

    def test_what_is_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"manifest\.csv is missing"):
            manifest.read(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"c\.jpg is missing"):
            self.write(tmp_path, "photo", "c.jpg")
