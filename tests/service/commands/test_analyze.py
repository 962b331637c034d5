"""analyze: photos to JSON lines and annotated copies, without a server; no photo is ever overwritten."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from service.wire import Options
from tests.service.commands.running import Done, command

OPTIONS = ("--min-score", "0", "--min-size", "40", "--max-faces", "2")


@pytest.fixture(scope="module")
def photo_bytes() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1])


@pytest.fixture
def folder(tmp_path: Path, photo_bytes: bytes) -> Path:
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    (photos / "b.PNG").write_bytes(photo_bytes)
    (photos / "deep" / "a.jfif").write_bytes(photo_bytes)
    (photos / "notes.txt").write_text("no photo")
    return photos


@pytest.fixture
def analyze(tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., Done]:
    """Run `analyze` with the tiny network; it takes most regions for faces."""

    def run(*words: object, stdin: bytes = b"") -> Done:
        options = ("--weights", tiny_checkpoint, *OPTIONS)
        return command("analyze", *words, *options, folder=tmp_path / "data", stdin=stdin, FACE_ENGINE="torch")

    return run


def test_lines_and_copies_and_a_line_for_each_bad_file(
    folder: Path, tmp_path: Path, analyze: Callable[..., Done]
) -> None:
    lines, drawn, missing = tmp_path / "out.jsonl", tmp_path / "drawn", tmp_path / "missing.jpg"
    (folder / "deep" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    done = analyze(folder, missing, folder / "b.PNG", "--out", lines, "--draw", drawn)
    assert (done.returncode, done.stdout) == (1, "")
    complaints = done.stderr.splitlines()
    assert complaints[0] == "allinone-face: 1 other file was ignored"
    assert "deep/broken.jpg: " in complaints[1]
    assert complaints[2:] == [f"allinone-face: {missing}: No such file or directory"]
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    names = [str(folder / "b.PNG"), str(folder / "deep/a.jfif"), str(folder / "b.PNG")]
    assert [line["image"] for line in found] == names
    for line in found:
        assert (line["width"], line["height"]) == (128, 96)
        assert len(line["model"]) == 64
        assert 1 <= len(line["faces"]) <= 2
        assert "descriptor" not in line["faces"][0]
    assert {str(path.relative_to(drawn)) for path in drawn.rglob("*.jpg")} == {"b.jpg", "b-2.jpg", "deep/a.jpg"}
    assert cv2.imread(str(drawn / "b.jpg")).shape == (96, 128, 3)


def test_standard_input_to_standard_output(photo_bytes: bytes, analyze: Callable[..., Done]) -> None:
    done = analyze("-", "--descriptor", stdin=photo_bytes)
    assert (done.returncode, done.stderr) == (0, "")
    line = json.loads(done.stdout)
    assert line["image"] == "-"
    assert len(line["faces"][0]["descriptor"]) == 512


def test_other_files_do_not_change_the_exit_status(folder: Path, analyze: Callable[..., Done]) -> None:
    done = analyze(folder)
    assert (done.returncode, done.stderr) == (0, "allinone-face: 1 other file was ignored\n")
    assert len(done.stdout.splitlines()) == 2


def test_an_output_is_never_a_photo(folder: Path, photo_bytes: bytes, analyze: Callable[..., Done]) -> None:
    for force in ([], ["--force"]):
        done = analyze(folder / "b.PNG", "--out", folder / "deep" / "a.jfif", *force)
        assert (done.returncode, "is an image" in done.stderr) == (1, True)
    damaged = folder / "c.jpg"
    damaged.write_bytes(b"a photo whose first bytes are gone")
    done = analyze(damaged, "--out", damaged, "--force")
    assert (done.returncode, "is one of the photos" in done.stderr) == (1, True)
    assert damaged.read_bytes() == b"a photo whose first bytes are gone"
    assert (folder / "deep" / "a.jfif").read_bytes() == photo_bytes


def test_the_old_option_overwrites_nothing(folder: Path, photo_bytes: bytes, analyze: Callable[..., Done]) -> None:
    done = analyze("--json", folder / "b.PNG", folder / "deep" / "a.jfif")
    assert done.returncode == 2
    assert (folder / "b.PNG").read_bytes() == photo_bytes


def test_an_existing_file_is_replaced_by_force_only(folder: Path, tmp_path: Path, analyze: Callable[..., Done]) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("what was there\n")
    done = analyze(folder / "b.PNG", "--out", out)
    assert (done.returncode, "--force replaces it" in done.stderr) == (1, True)
    assert out.read_text() == "what was there\n"
    assert analyze(folder / "b.PNG", "--out", out, "--force").returncode == 0
    assert json.loads(out.read_text())["width"] == 128
    assert analyze(folder / "b.PNG", "--out", tmp_path).returncode == 1


def test_the_help_has_the_defaults_that_hold() -> None:
    shown = " ".join(command("analyze", "--help").stdout.split())
    defaults = Options()
    assert f"the largest so many faces of a photo ({defaults.max_faces})" in shown
    smallest = "the model's own" if defaults.min_size is None else f"{defaults.min_size:g}"
    assert f"in pixels ({smallest})" in shown


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--weights", "nowhere.safetensors"], 1, "nowhere.safetensors"),
        (["--weights", __file__], 1, "not a safetensors file"),
        (["--device", "gpu"], 2, "FACE_DEVICE"),
        (["--device", "cuda:99"], 1, "CUDA"),
        (["--max-faces", "0"], 1, "--max-faces: "),
        (["--min-size", "nan"], 1, "--min-size: "),
        (["--dtype", "float16"], 1, "float16"),
    ],
)
def test_mistakes_are_told_without_a_traceback(words: list[str], status: int, said: str, tmp_path: Path) -> None:
    done = command("analyze", tmp_path / "x.jpg", *words, folder=tmp_path, FACE_ENGINE="torch")
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_folders_without_photos(tmp_path: Path) -> None:
    done = command("analyze", tmp_path, folder=tmp_path / "data")
    assert (done.returncode, done.stderr) == (1, "allinone-face: no photo in these folders\n")
