"""Users of Redis: processes work as they did, a worker's password opens the queue and nothing else."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError

from service.__main__ import main
from service.config import Settings, url_with_password
from service.crypto.vault import Vault
from service.gallery.gallery import Gallery
from service.gallery.searchers import ScatteredSearch
from service.gallery.stores.redis import RedisStore
from service.redis_access import USERS
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Faces
from tests.service.queue.device import photo
from tests.service.queue.processes import Processes, RedisServer, redis_server, until

pytestmark = pytest.mark.slow


@dataclass
class Guarded:
    """A redis-server with users, and the files of their passwords."""

    server: RedisServer
    folder: Path

    def url(self, user: str) -> str:
        """The server's URL for a user, without the password."""
        return self.server.url.replace("unix://", f"unix://{user}@")

    def password_file(self, user: str) -> Path:
        """Where a user's password lies."""
        return self.folder / user / "password"

    def client(self, user: str) -> redis.Redis:
        """A client that is this user."""
        return redis.Redis.from_url(url_with_password(self.url(user), self.password_file(user).read_text()))

    def settings(self, user: str) -> dict[str, str]:
        """The environment of a process that is this user."""
        return {"FACE_REDIS_URL": self.url(user), "FACE_REDIS_PASSWORD_FILE": str(self.password_file(user))}


def make_users(folder: Path) -> Path:
    with pytest.raises(SystemExit) as ended:
        main(["redis-users", str(folder)])
    assert ended.value.code == 0
    return folder / "default/users.acl"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("users")
    with redis_server("--aclfile", str(make_users(folder))) as server:
        yield Guarded(server, folder)


@pytest.fixture
def processes(guarded: Guarded, tmp_path: Path) -> Iterator[Processes]:
    made = Processes(tmp_path, "")
    yield made
    made.stop()


def test_passwords_are_made_once_and_the_acl_file_holds_their_hashes_only(tmp_path: Path):
    acl = make_users(tmp_path / "users").read_text()
    assert make_users(tmp_path / "users").read_text() == acl
    for user in USERS:
        file = tmp_path / "users" / user / "password"
        assert file.stat().st_mode & 0o077 == 0
        assert len(file.read_text()) >= 48
        assert file.read_text() not in acl
        assert f"user {user} on #{hashlib.sha256(file.read_bytes()).hexdigest()} " in acl


def test_photos_jobs_and_dead_letters_work_for_api_and_worker_as_these_users(
    guarded: Guarded, processes: Processes, weights: Path
):
    api = processes.api(**guarded.settings("api"))
    once = {"FACE_QUEUE_LEASE": "1", "FACE_QUEUE_DELIVERIES": "1"}
    worker = processes.worker(weights, **once, **guarded.settings("worker"))
    until(lambda: api.ready() and worker.ready())
    assert api.post("/v1/faces", content=photo("grey")).status_code == 200
    accepted = api.post("/v1/jobs", files=[("image", photo("grey")), ("image", photo("grey"))])
    assert accepted.status_code == 202
    where = accepted.headers["Location"]
    until(lambda: api.get(where).json()["status"] == "done")
    assert api.get(where).json()["failed"] == 0
    assert api.client.delete(f"{api.url}{where}").status_code in (200, 204)
    assert api.get("/metrics").status_code == 200
    listed = subprocess.run(
        [sys.executable, "-m", "service", "dead-letters", "list"],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path), "HOME": str(guarded.folder), **guarded.settings("api")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (listed.returncode, listed.stdout) == (0, ""), listed.stderr
    second = processes.worker(weights, **once, **guarded.settings("worker"))
    until(second.ready)
    lost = api.post("/v1/faces", content=photo("red"))
    assert (lost.status_code, lost.json()["code"]) == (500, "worker_lost")
    assert "face_dead_letters 1.0" in api.get("/metrics").text
    for log in (api.log, worker.log, second.log):
        assert "NOPERM" not in log.read_text()
        assert "NoPermission" not in log.read_text()


def test_the_gallery_and_searchers_work_as_the_user_of_the_api(guarded: Guarded, faces: Faces):
    with guarded.client("default") as operator:
        operator.flushall()
    settings = Settings(redis_url=guarded.url("api"), redis_password_file=guarded.password_file("api"))
    gallery = Gallery(RedisStore(settings.redis_url), Vault([MASTER]))
    gallery.put_collection("people", MODEL, DIMENSION)
    gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "m", photo=b"photo")], create=True)
    assert gallery.search("people", MODEL, faces.vector("ada")).matches[0].subject == "ada"
    gallery.delete_subject("people", "ada")
    gallery.delete_collection("people")
    ScatteredSearch(gallery, settings.redis_url, 1)
    gallery.close()


@pytest.mark.parametrize(
    "command",
    [
        ("HGETALL", "face:gallery:records"),
        ("GET", "face:jobs:1"),
        ("DEL", "face:gallery:records"),
        ("SET", "face:search:1", "x"),
        ("SET", "anything", "x"),
        ("EVAL", "return redis.call('HGETALL', 'face:gallery:records')", "0"),
        ("EVAL", "return redis.call('SET', 'face:gallery:records', ARGV[1])", "1", "face:queue:", "x"),
        ("RENAME", "face:queue:a", "face:gallery:b"),
        ("COPY", "face:gallery:a", "face:queue:b"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("MONITOR",),
        ("PUBLISH", "channel", "x"),
        ("SHUTDOWN", "NOSAVE"),
        ("REPLICAOF", "127.0.0.1", "1"),
    ],
)
def test_a_worker_reaches_nothing_but_the_queue(guarded: Guarded, command: tuple[str, ...]):
    with guarded.client("default") as operator:
        operator.set("face:queue:a", "x")
        operator.set("face:gallery:a", "x")
    refused = pytest.raises(redis.exceptions.ResponseError, match=r"permission|can't access")
    with guarded.client("worker") as client, refused:
        client.execute_command(*command)


@pytest.mark.parametrize("command", [("GET", "other"), ("KEYS", "*"), ("FLUSHDB",), ("CONFIG", "GET", "*")])
def test_the_api_reaches_nothing_but_the_services_keys(guarded: Guarded, command: tuple[str, ...]):
    with guarded.client("api") as client, pytest.raises(NoPermissionError):
        client.execute_command(*command)


def test_without_a_password_nobody_gets_in(guarded: Guarded):
    for url in (guarded.server.url, guarded.url("worker"), url_with_password(guarded.url("worker"), "guess")):
        with redis.Redis.from_url(url) as client, pytest.raises(redis.exceptions.AuthenticationError):
            client.get("face:queue:a")


def test_a_missing_password_file_is_told(tmp_path: Path):
    with pytest.raises(ValueError, match="FACE_REDIS_PASSWORD_FILE cannot be read"):
        Settings(redis_url="redis://worker@localhost", redis_password_file=tmp_path / "none")
