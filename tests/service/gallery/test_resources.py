"""A lost master key is an error at the start and is never replaced; a wrong one is a reason not to be ready."""

from pathlib import Path

import pytest

from service.commands import CommandError
from service.commands.serve import http_server
from service.config import Settings
from service.crypto.vault import BadMasterKey
from service.gallery.errors import StorageFull
from service.gallery.resources import MasterKeyMissing, Resources, open_keys
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from tests.service.gallery.people import DIMENSION, MODEL
from tests.service.gallery.served import people_served
from tests.service.queue.processes import RedisServer, redis_server


@pytest.fixture(params=["sqlite", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "sqlite":
        return Settings(data_dir=tmp_path)
    server: RedisServer = request.getfixturevalue("shared_redis")
    server.client.flushall()
    return Settings(data_dir=tmp_path, redis_url=server.url)


def fill(settings: Settings) -> bytes:
    """Make a gallery; return its master key."""
    resources = Resources(settings)
    resources.check_start()
    resources.gallery.put_collection("people", MODEL, DIMENSION)
    resources.close()
    return (settings.data_dir / "master.key").read_bytes()


def test_a_lost_key_is_never_replaced(settings: Settings):
    key = fill(settings)
    file = settings.data_dir / "master.key"
    file.unlink()
    for _ in range(2):
        resources = Resources(settings)
        with pytest.raises(MasterKeyMissing, match="put the file back"):
            resources.check_start()
        with pytest.raises(MasterKeyMissing):
            _ = resources.gallery
        with pytest.raises(MasterKeyMissing), open_keys(settings) as keys:
            keys.keys()
        assert "put the file back" in (resources.problem() or "")
        assert not file.exists()
        resources.close()
    file.write_bytes(key)
    resources = Resources(settings)
    resources.check_start()
    assert resources.gallery.collection("people").name == "people"
    assert resources.problem() is None
    resources.close()


def test_with_a_wrong_key_the_start_goes_on_and_the_reason_is_told(settings: Settings):
    fill(settings)
    (settings.data_dir / "master.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    resources = Resources(settings)
    resources.check_start()
    assert "another master key" in (resources.problem() or "")
    resources.close()


def test_a_key_in_the_settings_that_is_none_ends_the_start(tmp_path: Path):
    """Else the first who makes a collection would be told, with 500."""
    resources = Resources(Settings(data_dir=tmp_path, master_key="short"))  # type: ignore[arg-type]
    with pytest.raises(BadMasterKey, match="FACE_MASTER_KEY: a master key is 32 bytes in base64"):
        resources.check_start()


def test_nothing_is_written_before_a_gallery_is_needed(tmp_path: Path):
    resources = Resources(Settings(data_dir=tmp_path / "data"))
    resources.check_start()
    assert resources.problem() is None
    assert not resources.exists()
    assert not (tmp_path / "data").exists()


def test_keys_are_made_by_a_command_and_known_to_the_server(settings: Settings):
    with open_keys(settings) as keys:
        key, token = keys.create("door", ["verify"])
    resources = Resources(settings)
    assert resources.keys.authenticate(token) == key
    resources.close()


def test_the_server_says_why_it_is_not_ready_and_does_not_start_without_its_key(tmp_path: Path):
    settings = Settings(data_dir=tmp_path)
    fill(settings)
    with people_served(settings) as served:
        assert served.client.get("/readyz").status_code == 200
    (tmp_path / "master.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    with people_served(settings) as served:
        answer = served.client.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "another master key" in answer.json()["detail"]
        assert served.client.get("/livez").status_code == 200
    (tmp_path / "master.key").unlink()
    with pytest.raises(CommandError, match="put the file back"):
        http_server(settings, LocalQueue(1, 1), Metrics())
    assert not (tmp_path / "master.key").exists()


def test_a_server_starts_on_a_full_redis(tmp_path: Path):
    with redis_server() as server:
        server.client.config_set("maxmemory", 1)
        resources = Resources(Settings(data_dir=tmp_path, redis_url=server.url))
        resources.check_start()
        with pytest.raises(StorageFull):
            _ = resources.gallery
        server.client.config_set("maxmemory", 0)
        assert resources.gallery.collections().items == []
        resources.close()
