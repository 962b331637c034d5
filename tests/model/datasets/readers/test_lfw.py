"""LFW's pairs, in the flat layout and in the archive's own."""

import pytest

from model.datasets.readers.lfw import read_pairs

PAIRS = ["2\t1", "A_B\t1\t2", "A_B\t2\tC\t1", "C\t1\t12", "A_B\t1\tC\t12"]
STEMS = ["A_B_0001", "A_B_0002", "C_0001", "C_0012"]


@pytest.mark.parametrize("nested", [False, True])
def test_pairs(tmp_path, nested):
    (tmp_path / "pairs.txt").write_text("\n".join(PAIRS) + "\n")
    for stem in STEMS:
        folder = tmp_path / "lfw" / stem[:-5] if nested else tmp_path
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.jpg").touch()
    pairs = read_pairs(tmp_path)
    assert [(p.first.name, p.second.name, p.genuine, p.fold) for p in pairs] == [
        ("A_B_0001", "A_B_0002", True, 0),
        ("A_B_0002", "C_0001", False, 0),
        ("C_0001", "C_0012", True, 1),
        ("A_B_0001", "C_0012", False, 1),
    ]
    assert pairs[0].first.subject == "A_B"
    assert pairs[0].first is pairs[3].first


def test_what_is_wrong_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pairs\.txt"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.txt").write_text("\n".join(PAIRS))
    with pytest.raises(FileNotFoundError, match="A_B_0001"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.txt").write_text("\n".join(PAIRS[:-1]))
    with pytest.raises(ValueError, match="announces 2 folds"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.txt").write_text("1\t1\nA_B 1 2\nx")
    with pytest.raises(ValueError, match="line 2"):
        read_pairs(tmp_path)
