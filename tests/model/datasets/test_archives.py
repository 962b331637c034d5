"""Training data from archives: people of one's own manifest are told apart by whatever names they have."""

from pathlib import Path

import torch

from model.datasets.archives import ArchivesConfig, load
from tests.model.evaluate.paper import archives


def test_identity_from_a_manifest_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "manifest"
    archives.pts(folder)
    rows = []
    for number, subject in enumerate(["ada", "ada", "bob", "bob", "émile", "émile"]):
        archives.photo(folder / f"{number}.jpg", archives.face_points(0))
        rows.append([f"{number}.jpg", subject, "val" if number % 2 else "train", "afw/1_1.pts"])
    archives.table(folder / "manifest.csv", ["photo", "subject", "split", "points"], rows)
    config = ArchivesConfig({"identity": ["manifest"]}, batch_size=8, root=str(tmp_path))
    data = load(config, size=32)
    assert data.subjects == 3
    name, batch = data.mixture.batch(0)
    assert name == "identity"
    assert batch["crops"].shape == (8, 3, 32, 32)
    assert set(batch["subject"].tolist()) <= {0, 1, 2}
    assert torch.equal(batch["subject"], batch["person"])
    [checked] = data.validation["identity"]
    assert sorted(checked["person"].tolist()) == [0, 1, 2]
    assert sorted(checked["subject"].tolist()) == [0, 1, 2]
