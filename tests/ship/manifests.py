"""deploy/ as kubectl renders it: its objects, and what the containers in it are started with."""

import subprocess
from functools import cache
from pathlib import Path

import yaml

from service.config import Settings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/overlays").iterdir())


@cache
def objects(overlay: str) -> list[dict]:
    done = subprocess.run(
        ["kubectl", "kustomize", f"deploy/overlays/{overlay}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.load_all(done.stdout, yaml.CSafeLoader))


def one(overlay: str, kind: str, name: str) -> dict:
    [found] = [item for item in objects(overlay) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def workload(overlay: str, name: str) -> dict:
    return one(overlay, "StatefulSet" if name.startswith("searcher") else "Deployment", name)


def workloads(*overlays: str) -> list[tuple[str, str]]:
    """Return overlays, each with the names of what runs our own images in it."""
    kinds = ("Deployment", "StatefulSet")
    return [
        (where, item["metadata"]["name"])
        for where in overlays
        for item in objects(where)
        if item["kind"] in kinds and item["metadata"]["name"] != "redis"
    ]


def pod_of(overlay: str, name: str) -> dict:
    return workload(overlay, name)["spec"]["template"]["spec"]


def config_maps(overlay: str) -> dict[str, dict]:
    return {item["metadata"]["name"]: item["data"] for item in objects(overlay) if item["kind"] == "ConfigMap"}


def settings_of(overlay: str, name: str) -> Settings:
    """What a container is started with."""
    [container] = pod_of(overlay, name)["containers"]
    maps, given = config_maps(overlay), dict[str, str]()
    for source in container["envFrom"]:
        given |= maps[source["configMapRef"]["name"]]
    given |= {item["name"]: item["value"] for item in container["env"] if "value" in item}
    return Settings(**{name.removeprefix("FACE_").lower(): value for name, value in given.items() if "FACE_" in name})
