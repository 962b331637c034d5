"""Calibration on a folder of one's own photos; without enough photos one clear line and no file."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from model import checkpoint
from model.identity import comparison as identity
from model.tools.calibrate import main


@pytest.fixture
def folder(tmp_path: Path, astronaut_png: bytes) -> Path:
    """Ada with a good and a broken photo and a note, Bob with an empty folder."""
    people = tmp_path / "people"
    for name in ("ada", "bob"):
        (people / name).mkdir(parents=True)
    (people / "ada" / "1.png").write_bytes(astronaut_png)
    (people / "ada" / "2.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (people / "ada" / "notes.txt").write_text("no photo either")
    return people


def calibrate(folder: Path, weights: Path, out: Path, engine: str = "torch") -> int:
    words = ["--photos", str(folder), "--json", str(out), "--weights", str(weights), "--engine", engine]
    return main(words)


def test_no_folder_and_no_photo(tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    for name in ("missing", "empty"):
        assert calibrate(tmp_path / name, tiny_checkpoint, tmp_path / "own.json") == 1
        assert "one folder for each person" in capsys.readouterr().err
    assert not (tmp_path / "own.json").exists()


def test_one_person_is_too_few(folder: Path, tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]):
    """The broken photo is named and put aside."""
    assert calibrate(folder, tiny_checkpoint, tmp_path / "own.json") == 1
    told = capsys.readouterr().err
    assert f"cannot be read: {folder / 'ada' / '2.jpg'}" in told
    assert "two photos of one person, and two people" in told
    assert "Traceback" not in told
    assert not (tmp_path / "own.json").exists()


@pytest.mark.slow
def test_two_people_are_too_few_and_it_says_how_many_photos_are_needed(
    folder: Path, tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str], astronaut_png: bytes
):
    for name in ("1.png", "2.png"):
        (folder / "bob" / name).write_bytes(astronaut_png)
    assert calibrate(folder, tiny_checkpoint, tmp_path / "own.json") == 1
    told = capsys.readouterr().err
    assert "2 pairs of photos of different people" in told
    assert "some 459 photos" in told


@pytest.mark.slow
def test_photos_without_a_face(
    folder: Path, tmp_path: Path, faceless_checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    cv2.imwrite(str(folder / "bob" / "grey.png"), np.full((60, 60, 3), 128, np.uint8))
    assert calibrate(folder, faceless_checkpoint, tmp_path / "own.json") == 1
    assert "no face in any of 3 photos" in capsys.readouterr().err


@pytest.mark.slow
def test_enough_photos_give_thresholds_that_the_service_takes(
    tmp_path: Path, tiny_checkpoint: Path, capsys: pytest.CaptureFixture[str]
):
    """60 drawn people, eight noisy photos each: all are counted, and the file is for these weights alone."""
    rng = np.random.default_rng(0)
    for person in range(60):
        (tmp_path / "people" / f"{person:02}").mkdir(parents=True)
        face = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (24, 24), interpolation=cv2.INTER_CUBIC)
        for photo in range(8):
            noisy = np.clip(face + rng.normal(0, 12, face.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(tmp_path / "people" / f"{person:02}" / f"{photo}.png"), noisy)
    assert calibrate(tmp_path / "people", tiny_checkpoint, tmp_path / "own.json", "auto") == 0
    told = capsys.readouterr().out
    assert "60 people, 480 photos, 113,280 impostor pairs" in told
    loaded = checkpoint.load(tiny_checkpoint)
    known = identity.of(loaded, tmp_path / "own.json")
    assert known.calibration is not None
    assert known.calibration.people == 60
    values = [threshold.value for threshold in known.calibration.thresholds]
    assert values == sorted(values)
    other = checkpoint.Checkpoint(loaded.tensors, loaded.config, "0" * 64)
    with pytest.raises(ValueError, match="calibration"):
        identity.of(other, tmp_path / "own.json")
