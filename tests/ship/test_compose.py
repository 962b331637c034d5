"""docker-compose.yml: valid, and hardened as it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import compose_spec
import pytest
import yaml

from service.config import Settings
from service.crypto.vault import parse_master_keys
from tests.ship.dockerfile import read

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
TEXT = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (ROOT / "docker-compose.yml").read_text())
MERGED = yaml.safe_dump(yaml.safe_load(TEXT))
SERVICES = yaml.safe_load(TEXT)["services"]
DIGEST = r"@sha256:[0-9a-f]{64}"


def test_it_is_valid_by_the_specification():
    compose_spec.ComposeSpecification.model_validate(yaml.safe_load(TEXT))
    project = compose_spec.PyCompose.from_yaml(MERGED)
    project.validate()
    names = ["api", "grafana", "keys", "prometheus", "redis", "worker", "worker-gpu"]
    assert sorted(project.service_names()) == names


@pytest.mark.parametrize(("was", "now"), [("tmpfs:", "tmpfss:"), ("- queue", "- kueue"), ("service_healthy", "well")])
def test_the_validator_would_see_a_mistake(was: str, now: str):
    assert was in MERGED
    with pytest.raises(ValueError, match=r"\w"):
        compose_spec.PyCompose.from_yaml(MERGED.replace(was, now)).validate()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))


def test_redis_keeps_what_was_accepted():
    words = SERVICES["redis"]["command"].split()
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "ports" not in SERVICES["redis"]
    assert SERVICES["redis"]["networks"] == ["queue"]


def test_images_are_targets_of_the_dockerfile_and_all_are_pinned():
    arguments, stages = read(ROOT / "Dockerfile")
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in stages
            assert service["image"] == f"allinone-face:{service['build']['target']}"
        else:
            assert re.fullmatch(rf"[a-z/]+{DIGEST}", service["image"])
            assert re.search(rf"image: {service['image']} # v?\d+\.\d+\.\d+", TEXT), "its version, for readers"
    assert re.fullmatch(rf"debian:bookworm-\d{{8}}-slim{DIGEST}", arguments["BASE"])


def test_settings_are_settings_and_a_stop_leaves_them_their_time():
    for name in ("api", "worker", "worker-gpu"):
        given = SERVICES[name]["environment"]
        assert {variable.removeprefix("FACE_").lower() for variable in given} <= set(Settings.model_fields)
        file = "FACE_REDIS_PASSWORD_FILE"  # it is there when the container runs
        words = {variable: value for variable, value in given.items() if variable != file}
        settings = Settings(**{variable.removeprefix("FACE_").lower(): value for variable, value in words.items()})
        assert int(SERVICES[name]["stop_grace_period"].rstrip("s")) > settings.shutdown_grace


def test_keys_and_passwords_are_made_once_before_who_needs_them(tmp_path: Path):
    *shell, script = SERVICES["keys"]["entrypoint"]
    assert SERVICES["keys"]["restart"] == "no"
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    (tmp_path / "data").mkdir()
    made = []
    for _ in range(2):
        subprocess.run([*shell, re.sub("(?<= )/(data|users)", rf"{tmp_path}/\1", script)], env=env, check=True)
        made.append({path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()})
    assert made[0] == made[1]
    names = ["data/queue.key", "users/api/password", "users/worker/password"]
    for name in names:
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
    for name in ("users/default/password", "users/default/users.acl"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o444, "Redis runs as another user of the system"
    assert len(parse_master_keys((tmp_path / "data/queue.key").read_text())) == 1
    for name in ("api", "worker", "worker-gpu", "redis"):
        assert SERVICES[name]["depends_on"]["keys"] == {"condition": "service_completed_successfully"}


def test_each_service_sees_its_own_password_only():
    made = dict(mount.split(":") for mount in SERVICES["keys"]["volumes"])
    assert made == {"keys": "/data", **{f"redis-{name}": f"/users/{name}" for name in ("api", "worker")}} | {
        "redis-users": "/users/default"
    }
    for name, user in (("api", "api"), ("worker", "worker"), ("worker-gpu", "worker")):
        mounts = [mount for mount in SERVICES[name]["volumes"] if mount.split(":")[0] in made]
        assert mounts == ["keys:/keys:ro", f"redis-{user}:/users/{user}:ro"]
        environment = SERVICES[name]["environment"]
        assert environment["FACE_QUEUE_KEY_FILE"] == "/keys/queue.key"
        assert environment["FACE_REDIS_URL"] == f"redis://{user}@redis:6379/0"
        assert environment["FACE_REDIS_PASSWORD_FILE"] == f"/users/{user}/password"
    assert SERVICES["redis"]["volumes"] == ["redis:/data", "redis-users:/users:ro"]
    assert "--aclfile /users/users.acl" in SERVICES["redis"]["command"]


def test_the_gpu_comes_with_its_profile_only():
    assert "profiles" not in SERVICES["worker"]
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    [device] = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}


def test_every_file_that_is_mounted_is_there():
    mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert len(files) == 5
    assert all((ROOT / file).is_file() for file in files)


def test_settings_that_a_file_of_settings_cannot_change_are_named_at_the_top():
    text = (ROOT / "docker-compose.yml").read_text()
    head = text[: text.index("name: allinone-face")]
    for variable in set(re.findall(r"\$\{(FACE_\w+)", text)):
        assert variable in head, "`environment` goes before `env_file`"
