"""Readers of who somebody is: subject, age, gender and smile, by data set."""

import csv
import math
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from model.datasets.readers import adience, casia, celeba, fgnet, fotw, ijba, imdb_wiki, lap, morph
from tests.model.evaluate.paper import archives


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
