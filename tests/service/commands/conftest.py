"""The API with made-up people, and photos of them in files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.config import Settings
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def people_server(tmp_path: Path) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path / "data")) as running:
        yield running


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    file = tmp_path / "ada.png"
    file.write_bytes(photo(ADA, take=9))
    return file


@pytest.fixture
def eve(tmp_path: Path) -> Path:
    file = tmp_path / "eve.png"
    file.write_bytes(photo(EVE))
    return file


@pytest.fixture
def nobody(tmp_path: Path) -> Path:
    """A photo without a face."""
    file = tmp_path / "nobody.png"
    file.write_bytes(photo())
    return file
