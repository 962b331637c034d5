"""What all readers have in common: samples with photos, stated terms, the name of what is missing."""

import pytest

from model.datasets.readers import (
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
from model.datasets.store import read_photo
from tests.model.evaluate.paper import archives

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
