"""cluster: photos of a folder into a folder for each person, without a server."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from service.commands.photos import PhotoArgument
from service.commands.sorting import PhotoFaces, sort_into_folders
from service.config import Settings
from service.gallery.scoring import Scoring
from tests.converted import with_converted_networks
from tests.service.commands.running import command
from tests.service.gallery.served import card, vector

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def photo_faces(tmp_path: Path) -> PhotoFaces:
    """Four photos: ada; ada and bob; nobody; bob and a face of poor quality."""
    faces = PhotoFaces(Scoring.of(card()))
    for name in ("a.jpg", "deep/b.jpg", "c.jpg", "d.jpg"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        faces.photos.append(PhotoArgument(str(file), Path(name)))
    for photo, person, take, good in ((0, ADA, 1, 1), (1, ADA, 2, 1), (1, BOB, 1, 1), (3, BOB, 2, 1), (3, EVE, 1, 0.1)):
        faces.owners.append(photo)
        faces.vectors.append(vector(person, take).astype(np.float32))
        faces.quality.append(good)
    return faces


@pytest.mark.parametrize("copy", [False, True])
def test_a_folder_for_each_person(photo_faces: PhotoFaces, tmp_path: Path, copy: bool) -> None:
    out = tmp_path / "sorted"
    counts = sort_into_folders(photo_faces, out, Settings(), copy=copy)
    assert counts == {"person-001": 2, "person-002": 2, "unsure": 1, "nobody": 1}
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    people = {frozenset(name.split("/", 1)[1] for name in files if name.startswith(f"person-00{n}")) for n in (1, 2)}
    assert people == {frozenset({"a.jpg", "deep/b.jpg"}), frozenset({"deep/b.jpg", "d.jpg"})}
    assert {"unsure/d.jpg", "nobody/c.jpg"} <= files
    assert (out / "nobody/c.jpg").read_text() == "c.jpg"
    assert (out / "nobody/c.jpg").is_symlink() != copy


@pytest.mark.slow
def test_the_command_sorts_a_folder_of_photos(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    astronaut = cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(photos / "one.png"), astronaut[:250, 120:330])
    cv2.imwrite(str(photos / "two.png"), astronaut[:240, 330:110:-1])
    cv2.imwrite(str(photos / "wall.png"), np.full((200, 200, 3), 128, np.uint8))
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    data = with_converted_networks(tmp_path / "data")
    done = command("cluster", photos, "--out", tmp_path / "sorted", folder=data)
    assert done.returncode == 1
    assert "broken.jpg" in done.stderr
    assert done.stdout.splitlines() == ["person-001: 2 photos", "nobody: 1 photo"]
    again = command("cluster", photos, "--out", tmp_path / "sorted", folder=data)
    assert again.returncode == 1
    assert "not an empty folder" in again.stderr
