"""The data sets' archives in miniature, and copies that a test may damage."""

import shutil

import pytest

from tests.model.evaluate.paper import archives


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Every archive in miniature below one folder."""
    return archives.build_all(tmp_path_factory.mktemp("archives"))


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of one archive that a test may damage."""

    def make(name):
        shutil.copytree(whole / name, tmp_path / name)
        return tmp_path / name

    return make
