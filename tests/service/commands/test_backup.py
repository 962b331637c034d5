"""`allinone-face backup` and `restore`, as their users call them."""

from pathlib import Path

import pytest

from service.__main__ import main
from service.config import Settings
from service.gallery.resources import open_gallery

MODEL = "a" * 64


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


def test_a_gallery_moves_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    here, there, copy = tmp_path / "here", tmp_path / "there", tmp_path / "copy.db"
    gallery = open_gallery(Settings(data_dir=here))
    gallery.put_collection("people", MODEL, 16)
    gallery.put_subject("people", "ada", {"badge": 1})
    gallery.close()
    monkeypatch.setenv("FACE_DATA_DIR", str(here))
    assert run("backup", str(copy)) == 0
    assert "master key is not in them" in capsys.readouterr().err
    assert run("backup", str(copy)) == 1
    assert "already" in capsys.readouterr().err

    monkeypatch.setenv("FACE_DATA_DIR", str(there))
    assert run("restore", str(copy)) == 1
    assert "master key's file" in capsys.readouterr().err
    monkeypatch.setenv("FACE_MASTER_KEY_FILE", str(here / "master.key"))
    assert run("restore", str(copy)) == 0
    assert capsys.readouterr().out == "1 collection restored\n"
    restored = open_gallery(Settings(data_dir=there, master_key_file=here / "master.key"))
    assert restored.subject("people", "ada").metadata == {"badge": 1}
    restored.close()
    assert run("restore", str(copy)) == 1
    assert "there is a gallery already" in capsys.readouterr().err


def test_what_cannot_be_done_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FACE_DATA_DIR", str(tmp_path / "empty"))
    assert run("backup", str(tmp_path / "copy.db")) == 1
    assert "no gallery" in capsys.readouterr().err
    monkeypatch.setenv("FACE_REDIS_URL", "redis://127.0.0.1:1/0")
    for command in ("backup", "restore"):
        assert run(command, str(tmp_path / "copy.db")) == 1
        assert "in Redis" in capsys.readouterr().err
