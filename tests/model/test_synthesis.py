"""The reader of synthetic profiles on a small set that the test writes, and on the real one where it is there."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from model import geometry, landmarks
from model.datasets.readers import profiles
from model.datasets.store import read_photo

REAL = Path(os.environ.get("FACE_CACHE_DIR", "~/.cache/allinone-face")).expanduser() / "profiles"


def write_labels(root: Path, **changes: np.ndarray) -> None:
    """Labels of three photos, some arrays replaced."""
    points = np.stack([landmarks.CANONICAL * 50 + 10 * i for i in range(3)])
    columns = {
        "name": np.array(["train/a.jpg", "val/b.jpg", "test/c.jpg"]),
        "source": np.array(["helen/helen/trainset/a.webp", "mtfl_net/b.webp", "celeba_wild/test/c.webp"]),
        "split": np.array(["train", "val", "test"]),
        "points": points.astype(np.float32),
        "visibility": np.tile(np.arange(21) % 2, (3, 1)).astype(np.float32),
        "pose": np.float32([[1, 2, 40], [0, 0, -65], [5, -5, 90]]),
        "box": np.float32([[0, 0, 50, 50]] * 3),
    }
    np.savez(root / "labels.npz", **(columns | changes))


def test_samples_hold_what_the_labels_say(tmp_path):
    write_labels(tmp_path)
    samples = profiles.read(tmp_path)
    assert [(s.name, s.split, s.group) for s in samples] == [
        ("train/a.jpg", "train", "helen"),
        ("val/b.jpg", "val", "mtfl_net"),
        ("test/c.jpg", "test", "celeba_wild"),
    ]
    assert all(s.path == tmp_path / s.name for s in samples)
    assert samples[1].pose.tolist() == [0, 0, -65]
    assert samples[2].visibility.tolist() == [i % 2 for i in range(21)]
    np.testing.assert_allclose(samples[1].landmarks, landmarks.CANONICAL * 50 + 10, rtol=1e-6)


def test_without_the_labels_the_error_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m model\.synthesis"):
        profiles.read(tmp_path)


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    write_labels(tmp_path, pose=np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match="pose"):
        profiles.read(tmp_path)


@pytest.mark.skipif(not (REAL / "labels.npz").is_file(), reason="no synthetic profiles in the cache")
def test_the_real_set_keeps_its_promises():
    samples = profiles.read(REAL)
    parts = {split: [s for s in samples if s.split == split] for split in ("train", "val", "test")}
    assert len(parts["train"]) >= 3000
    assert len(parts["test"]) == 150
    assert len({s.name for s in samples}) == len(samples), "two rows for one photo"
    yaws = {split: np.array([s.pose[2] for s in part]) for split, part in parts.items()}
    assert (np.abs(yaws["test"]) >= 60).all()
    for part in yaws.values():
        assert np.abs(part).min() >= 30
        assert np.abs(part).max() <= 90
        assert 0.25 < (part > 0).mean() < 0.75, "one direction is rare"
    # Nobody's photo is in two parts, and the test part is of the sets' own test people.
    with np.load(REAL / "labels.npz") as arrays:
        sources = dict(zip(arrays["name"].tolist(), arrays["source"].tolist(), strict=True))
    assert all(sources[s.name].startswith(("helen/helen/testset/", "celeba_wild/test/")) for s in parts["test"])
    assert not {sources[s.name] for s in parts["train"]} & {sources[s.name] for s in parts["test"] + parts["val"]}
    for sample in samples:
        assert np.isfinite(sample.landmarks).all()
        assert set(np.unique(sample.visibility)) <= {0.0, 1.0}
    for sample in samples[::400]:
        height, width = read_photo(sample.path).shape[:2]
        assert max(height, width) <= 320
        assert (sample.landmarks > 0).all()
        assert (sample.landmarks < (width, height)).all()
        box = geometry.box_from_landmarks(torch.from_numpy(sample.landmarks)[None])[0].numpy()
        np.testing.assert_allclose(sample.box, box, atol=0.01)
    # Of a full profile the far ear and the far eye are hidden, the nose tip and the near ear are not.
    for sample in parts["test"]:
        near, far = (12, 16) if sample.pose[2] > 0 else (16, 12)
        assert sample.visibility[far] == 0, sample.name
        assert sample.visibility[near] == 1, sample.name
    full = [s for s in parts["train"] if abs(s.pose[2]) > 75]
    assert np.mean([s.visibility[14] for s in full]) > 0.95
    assert np.mean([s.visibility[11 if s.pose[2] > 0 else 6] for s in full]) < 0.02
