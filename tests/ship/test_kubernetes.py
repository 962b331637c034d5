"""deploy/: every overlay renders, every object fits its schema, and the numbers fit each other."""

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

from service.broker import codec
from service.config import Settings

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/overlays").iterdir())
OWN_SCHEMAS = json.loads((Path(__file__).parent / "schemas/custom-resources.json").read_text())["schemas"]
VERSIONS = ("1.30", "1.37")  # the oldest with a pause as preStop on by default, the newest


@cache
def objects(overlay: str) -> list[dict]:
    done = subprocess.run(
        ["kubectl", "kustomize", f"deploy/overlays/{overlay}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(overlay: str, kind: str, name: str) -> dict:
    [found] = [item for item in objects(overlay) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def settings_of(overlay: str, name: str) -> Settings:
    """What a deployment's container is started with."""
    [config] = [
        item for item in objects(overlay) if item["kind"] == "ConfigMap" and "FACE_HOST" in item.get("data", {})
    ]
    [container] = one(overlay, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    given = dict(config["data"])
    given |= {item["name"]: item["value"] for item in container["env"] if "value" in item}
    return Settings(**{name.removeprefix("FACE_").lower(): value for name, value in given.items() if "FACE_" in name})


def test_there_are_overlays():
    assert OVERLAYS == ["production", "scale-to-zero", "small"]


@pytest.mark.parametrize(
    ("overlay", "version"), [("production", VERSIONS[0]), *((overlay, VERSIONS[-1]) for overlay in OVERLAYS)]
)
def test_every_object_fits_its_schema(overlay: str, version: str):
    custom = set()
    for item in objects(overlay):
        name = f"{item['apiVersion']} {item['kind']}"
        if name in OWN_SCHEMAS:
            jsonschema.validate(item, OWN_SCHEMAS[name])
            custom.add(item["kind"])
        elif item["apiVersion"] != "redis.redis.opstreelabs.in/v1beta2":  # its schema is not at hand
            kubernetes_validate.validate(item, version, strict=True)
    scales = overlay != "small"
    assert custom == (
        {"ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"} if scales else set()
    )


def test_the_schemas_would_see_a_mistake():
    scaled = json.loads(json.dumps(one("production", "ScaledObject", "worker")))
    scaled["spec"]["minReplicas"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(scaled, OWN_SCHEMAS["keda.sh/v1alpha1 ScaledObject"])
    deployment = json.loads(json.dumps(one("production", "Deployment", "api")))
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_everything_is_in_one_namespace_and_no_secret_is_in_the_files(overlay: str):
    for item in objects(overlay):
        assert item["kind"] != "Secret"
        if item["kind"] != "Namespace":
            assert item["metadata"]["namespace"] == "allinone-face", item["metadata"]["name"]


@pytest.mark.parametrize("name", ["api", "worker"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_have_no_rights(overlay: str, name: str):
    pod = one(overlay, "Deployment", name)["spec"]["template"]["spec"]
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


@pytest.mark.parametrize("name", ["api", "worker"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_stop_leaves_time_to_drain(overlay: str, name: str):
    pod = one(overlay, "Deployment", name)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    assert pod["terminationGracePeriodSeconds"] >= pause + settings_of(overlay, name).shutdown_grace + 5
    assert (pause > 0) == (name == "api"), "clients find an API through proxies; nobody looks for a worker"


@pytest.mark.parametrize("name", ["api", "worker"])
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_environment_is_made_of_settings(overlay: str, name: str):
    settings = settings_of(overlay, name)
    assert settings.host == "0.0.0.0"
    assert settings.redis_url == "redis://:$(REDIS_PASSWORD)@redis:6379/0"
    [container] = one(overlay, "Deployment", name)["spec"]["template"]["spec"]["containers"]
    names = [item["name"] for item in container["env"]]
    assert names.index("REDIS_PASSWORD") < names.index("FACE_REDIS_URL"), "it is used there"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == ({"http": settings.port} if name == "api" else {"metrics": settings.metrics_port})


def test_only_the_api_sees_the_master_key():
    for overlay in OVERLAYS:
        api = one(overlay, "Deployment", "api")["spec"]["template"]["spec"]
        [keys] = [volume["secret"] for volume in api["volumes"] if "secret" in volume]
        assert [item["key"] for item in keys["items"]] == ["master-key"]
        [mount] = [mount for mount in api["containers"][0]["volumeMounts"] if mount["name"] == "keys"]
        assert mount["readOnly"] is True
        assert settings_of(overlay, "api").master_key_file == Path(mount["mountPath"]) / keys["items"][0]["path"]
        worker = one(overlay, "Deployment", "worker")["spec"]["template"]["spec"]
        assert "master-key" not in json.dumps(worker["containers"] + worker["volumes"])


def test_keda_watches_the_length_of_the_stream_of_the_model_that_ships():
    digest = hashlib.sha256((ROOT / "model/weights/allinone-face.safetensors").read_bytes()).hexdigest()
    for overlay in ("production", "scale-to-zero"):
        [trigger] = one(overlay, "ScaledObject", "worker")["spec"]["triggers"]
        metadata = trigger["metadata"]
        assert metadata["stream"] == f"{codec.PREFIX}jobs:{digest}", (
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
    pods = {
        name: one(overlay, "Deployment", name)["spec"]["template"]["metadata"]["labels"] for name in ("api", "worker")
    }
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        for name, labels in pods.items():
            selector = one(overlay, kind, name)["spec"]["selector"]
            assert selector.get("matchLabels", selector).items() <= labels.items()
    for name, own in pods.items():
        wanted = one(overlay, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"]
        assert [pod for pod, labels in pods.items() if wanted.items() <= labels.items()] == [name]
        for spread in one(overlay, "Deployment", name)["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"].items() <= own.items()


def test_what_is_scraped_is_named_as_the_rules_expect():
    for name in ("api", "worker"):
        monitor = one("production", "ServiceMonitor", name)["spec"]
        service = one("production", "Service", name)
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["metadata"]["labels"][monitor["jobLabel"]] == name
        [endpoint] = monitor["endpoints"]
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
