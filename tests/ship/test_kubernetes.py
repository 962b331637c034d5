"""deploy/: every overlay renders, and its numbers, names and rights fit each other."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from pydantic import ByteSize, TypeAdapter

from service.queue import codec
from tests.ship.manifests import OVERLAYS, ROOT, config_maps, objects, one, pod_of, settings_of, workload, workloads


def test_there_are_overlays():
    assert OVERLAYS == ["large", "production", "scale-to-zero", "small"]
    assert workloads("small", "large") == [
        ("small", "api"), ("small", "worker"), ("large", "api"), ("large", "worker"), ("large", "searcher-of-2"),
    ]  # fmt: skip


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_one_namespace_and_no_secret_is_in_the_files(overlay: str):
    for item in objects(overlay):
        assert item["kind"] != "Secret"
        if item["kind"] != "Namespace":
            assert item["metadata"]["namespace"] == "allinone-face", item["metadata"]["name"]


@pytest.mark.parametrize(("overlay", "name"), workloads(*OVERLAYS))
def test_containers_have_no_rights(overlay: str, name: str):
    pod = pod_of(overlay, name)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"] + pod.get("initContainers", []):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        assert container["image"].startswith("registry.example.org/")


@pytest.mark.parametrize(("overlay", "name"), workloads(*OVERLAYS))
def test_a_stop_leaves_time_to_drain(overlay: str, name: str):
    pod = pod_of(overlay, name)
    [container] = pod["containers"]
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] >= pause + settings_of(overlay, name).shutdown_grace + 5
    assert (pause > 0) == (name == "api"), "clients find an API through proxies; nobody looks for a worker"


@pytest.mark.parametrize(("overlay", "name"), workloads(*OVERLAYS))
def test_the_environment_is_made_of_settings(overlay: str, name: str):
    settings = settings_of(overlay, name)
    assert settings.host == "0.0.0.0"
    user = "worker" if name == "worker" else "api"
    assert settings.redis_url == f"redis://{user}:$(REDIS_PASSWORD)@redis:6379/0"
    [container] = pod_of(overlay, name)["containers"]
    names = [item["name"] for item in container["env"]]
    assert names.index("REDIS_PASSWORD") < names.index("FACE_REDIS_URL"), "it is used there"
    [password] = [item["valueFrom"] for item in container["env"] if item["name"] == "REDIS_PASSWORD"]
    assert password == {"secretKeyRef": {"name": "allinone-face", "key": f"redis-{user}-password"}}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"metrics": settings.metrics_port} | ({"http": settings.port} if name == "api" else {})


@pytest.mark.parametrize(("overlay", "name"), workloads(*OVERLAYS))
def test_who_opens_the_gallery_sees_the_master_key_and_no_worker_does(overlay: str, name: str):
    pod = pod_of(overlay, name)
    [keys] = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    wanted = {"api": ["master-key", "queue-key"], "worker": ["queue-key"]}.get(name, ["master-key"])
    assert [item["key"] for item in keys["items"]] == wanted
    assert "master-key" not in json.dumps(pod["containers"])
    [mount] = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == "keys"]
    assert mount["readOnly"] is True
    settings = settings_of(overlay, name)
    files = {"master-key": settings.master_key_file, "queue-key": settings.queue_key_file}
    for item in keys["items"]:
        assert files[item["key"]] == Path(mount["mountPath"]) / item["path"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_audit_log_fits_into_its_volume(overlay: str):
    [data] = [volume["emptyDir"] for volume in pod_of(overlay, "api")["volumes"] if volume["name"] == "data"]
    settings = settings_of(overlay, "api")
    most = (settings.audit_files + 1) * settings.audit_bytes  # the renamed files and the one that is written
    room = TypeAdapter(ByteSize).validate_python(data["sizeLimit"].replace("Mi", "MiB"))
    assert most < room, "Kubernetes ends a pod whose volume is over its limit"


def test_the_api_asks_as_many_parts_as_there_are_and_each_has_two_copies():
    [searchers] = [name for _, name in workloads("large") if name.startswith("searcher")]
    [container] = pod_of("large", searchers)["containers"]
    maps = config_maps("large")
    parts = [maps[source["configMapRef"]["name"]].get("PARTS") for source in container["envFrom"]]
    assert parts == [None, "2"]
    assert settings_of("large", "api").searchers == 2
    assert settings_of("production", "api").searchers == 0
    spec = workload("large", searchers)["spec"]
    assert spec["replicas"] == 2 * 2
    # at most one pod is away, by an update or a drained node, so no part is without a searcher
    assert spec.get("updateStrategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
    assert one("large", "PodDisruptionBudget", searchers)["spec"]["maxUnavailable"] == 1
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    label = container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"]
    assert label == "metadata.labels['apps.kubernetes.io/pod-index']", "what a StatefulSet numbers its pods with"


def test_a_set_of_other_size_stands_beside_the_first(tmp_path: Path):
    copied = tmp_path / "deploy"
    shutil.copytree(ROOT / "deploy", copied)
    large = copied / "overlays/large"
    text = (large / "searchers-of-2/kustomization.yaml").read_text()
    (large / "searchers-of-4").mkdir()
    for old, new in (("of-2", "of-4"), ('parts: "2"', 'parts: "4"'), ("PARTS=2", "PARTS=4"), ("count: 4", "count: 8")):
        assert old in text
        text = text.replace(old, new)
    (large / "searchers-of-4/kustomization.yaml").write_text(text)
    whole = (large / "kustomization.yaml").read_text()
    (large / "kustomization.yaml").write_text(
        whole.replace("  - searchers-of-2\n", "  - searchers-of-2\n  - searchers-of-4\n")
    )
    done = subprocess.run(["kubectl", "kustomize", str(large)], capture_output=True, text=True, check=True)
    found = list(yaml.safe_load_all(done.stdout))
    sets = [item["spec"] for item in found if item["kind"] == "StatefulSet"]
    assert [item["replicas"] for item in sets] == [4, 8]
    for one_set, other in (sets, sets[::-1]):
        pods = other["template"]["metadata"]["labels"]
        assert not one_set["selector"]["matchLabels"].items() <= pods.items(), "neither takes the other's pods"


def test_keda_watches_the_length_of_the_stream_of_the_model_that_ships():
    digest = hashlib.sha256((ROOT / "model/weights/allinone-face.safetensors").read_bytes()).hexdigest()
    for overlay in ("production", "scale-to-zero"):
        [trigger] = one(overlay, "ScaledObject", "worker")["spec"]["triggers"]
        metadata = trigger["metadata"]
        assert metadata["stream"] == f"{codec.PREFIX}requests:{digest}", (
            f"write digest={digest} to deploy/base/model.env: KEDA would watch a stream that nobody fills"
        )
        assert "consumerGroup" not in metadata, "with it KEDA reads XPENDING, which is 0 while no worker lives"
        settings = settings_of(overlay, "worker")
        assert int(metadata["streamLength"]) == 2 * settings.batch_images
        assert trigger["metricType"] == "AverageValue"


def test_what_scales_has_no_fixed_number_of_replicas():
    for overlay in ("production", "scale-to-zero"):
        for name in ("api", "worker"):
            assert "replicas" not in one(overlay, "Deployment", name)["spec"]
    assert one("small", "Deployment", "worker")["spec"]["replicas"] == 1


def test_to_zero_means_that_the_api_is_ready_without_a_worker():
    probes = {
        overlay: one(overlay, "Deployment", "api")["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
        for overlay in ("production", "scale-to-zero")
    }
    assert probes["production"]["httpGet"]["path"] == "/readyz"
    assert probes["scale-to-zero"]["httpGet"]["path"] == "/livez"
    scaled = one("scale-to-zero", "ScaledObject", "worker")["spec"]
    assert scaled["minReplicaCount"] == 0
    assert "fallback" not in scaled
    assert settings_of("scale-to-zero", "api").timeout > scaled["pollingInterval"] + 60
    assert settings_of("scale-to-zero", "api").model_digest is None, "with it the API refuses without a worker"
    rules = one("scale-to-zero", "PrometheusRule", "allinone-face")["spec"]["groups"][0]["rules"]
    assert "FaceNoWorkerIdle" not in [rule["alert"] for rule in rules]


def test_a_gpu_worker_asks_for_a_gpu_and_the_small_one_for_none():
    for overlay in ("production", "scale-to-zero"):
        [worker] = one(overlay, "Deployment", "worker")["spec"]["template"]["spec"]["containers"]
        assert worker["resources"]["limits"]["nvidia.com/gpu"] == 1
        assert settings_of(overlay, "worker").device == "cuda"
        assert "worker-cuda" in worker["image"]
    [worker] = one("small", "Deployment", "worker")["spec"]["template"]["spec"]["containers"]
    assert "nvidia" not in json.dumps(worker)
    assert settings_of("small", "worker").device == "cpu"
    assert "worker-cpu" in worker["image"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_their_pods(overlay: str):
    pods = {name: workload(overlay, name)["spec"]["template"]["metadata"]["labels"] for _, name in workloads(overlay)}
    policies = [item for item in objects(overlay) if item["kind"] == "NetworkPolicy"]
    [redis] = [item["spec"] for item in policies if item["metadata"]["name"] == "redis"]
    [allowed, *_] = redis["ingress"][0]["from"]
    [clients] = allowed["podSelector"]["matchExpressions"]
    for name, own in pods.items():
        for kind in ("Service", "PodDisruptionBudget", workload(overlay, name)["kind"]):
            selector = one(overlay, kind, name)["spec"]["selector"]
            selector = selector.get("matchLabels", selector)
            assert [pod for pod, labels in pods.items() if selector.items() <= labels.items()] == [name]
        for spread in pod_of(overlay, name)["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"].items() <= own.items()
        [policy] = [
            item["spec"]
            for item in policies
            if (wanted := item["spec"]["podSelector"].get("matchLabels")) and wanted.items() <= own.items()
        ]
        assert policy["egress"][0]["to"] == [{"podSelector": redis["podSelector"]}]
        assert own[clients["key"]] in clients["values"], "Redis lets it in"


def test_what_is_scraped_is_named_as_the_rules_expect():
    for overlay, name in workloads("large"):
        role = name.removesuffix("-of-2")
        monitor = one(overlay, "ServiceMonitor", role)["spec"]
        service = one(overlay, "Service", name)
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["jobLabel"]] == role
        [endpoint] = monitor["endpoints"]
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
