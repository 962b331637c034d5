"""Every object of deploy/ fits its schema, Kubernetes' own and those of the operators."""

import json
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from tests.ship.manifests import OVERLAYS, config_maps, objects, one

SCHEMAS = Path(__file__).parent / "schemas"
OWN_SCHEMAS = json.loads((SCHEMAS / "custom-resources.json").read_text())["schemas"]
OWN_SCHEMAS["redis.redis.opstreelabs.in/v1beta2 Redis"] = json.loads((SCHEMAS / "redis-operator.json").read_text())[
    "schema"
]
VERSIONS = ("1.30", "1.37")  # the oldest with a pause as preStop on by default, the newest


@pytest.fixture(scope="module")
def jsonschema() -> ModuleType:
    """The package, imported by whichever process runs these tests: it compiles a grammar of URLs for seconds."""
    return import_module("jsonschema")


@pytest.fixture(scope="module")
def kubernetes_validate(jsonschema: ModuleType) -> ModuleType:
    return import_module("kubernetes_validate")


@cache
def check(text: str, version: str) -> None:
    """Check an object in JSON against its schema, once for all overlays that share it. Raises ValidationError."""
    item = json.loads(text)
    own = OWN_SCHEMAS.get(f"{item['apiVersion']} {item['kind']}")
    if own is not None:
        import_module("jsonschema").validate(item, own)
    else:
        import_module("kubernetes_validate").validate(item, version, strict=True)


@pytest.mark.parametrize(
    ("overlay", "version"), [("production", VERSIONS[0]), *((overlay, VERSIONS[-1]) for overlay in OVERLAYS)]
)
def test_every_object_fits_its_schema(overlay: str, version: str):
    custom = set()
    for item in objects(overlay):
        check(json.dumps(item), version)
        if f"{item['apiVersion']} {item['kind']}" in OWN_SCHEMAS:
            custom.add(item["kind"])
    of_operators = {"Redis", "ScaledObject", "TriggerAuthentication", "ServiceMonitor", "PrometheusRule"}
    assert custom == (set() if overlay == "small" else of_operators)


def pod_of_redis(redis: dict) -> tuple[dict, dict]:
    """The pod and the claim that the operator makes of its resource, as far as Kubernetes' own types go."""
    spec, config = redis["spec"], redis["spec"]["kubernetesConfig"]
    container = {"name": "redis", "securityContext": spec["securityContext"]}
    container |= {name: config[name] for name in ("image", "imagePullPolicy", "resources")}
    pod = {"securityContext": spec["podSecurityContext"], "containers": [container]}
    claim = spec["storage"]["volumeClaimTemplate"]
    return (
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "redis-0"}, "spec": pod},
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "redis"}} | claim,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_redis_operator_passes_on_is_kubernetes(version: str):
    for item in pod_of_redis(one("production", "Redis", "redis")):
        check(json.dumps(item), version)


def test_the_operators_redis_is_the_one_that_is_meant():
    redis = one("production", "Redis", "redis")
    labels = redis["metadata"]["labels"]  # the operator gives them to the pods, too
    wanted = one("production", "NetworkPolicy", "redis")["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= labels.items()
    spec = redis["spec"]
    assert spec["kubernetesConfig"]["redisSecret"] == {"name": "allinone-face", "key": "redis-password"}
    assert spec["acl"]["secret"]["items"] == [{"key": "users.acl", "path": "user.acl"}]
    options = config_maps("production")[spec["redisConfig"]["additionalRedisConfig"]]["redis-additional.conf"]
    given = dict(line.split() for line in options.splitlines())
    assert (given["appendonly"], given["maxmemory-policy"]) == ("yes", "noeviction")
    limit = spec["kubernetesConfig"]["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) >= 2 * int(given["maxmemory"].removesuffix("gb"))
    pod, _ = pod_of_redis(redis)
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_the_schemas_would_see_a_mistake(jsonschema: ModuleType, kubernetes_validate: ModuleType):
    scaled = json.loads(json.dumps(one("production", "ScaledObject", "worker")))
    scaled["spec"]["minReplicas"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(scaled, OWN_SCHEMAS["keda.sh/v1alpha1 ScaledObject"])
    redis = json.loads(json.dumps(one("production", "Redis", "redis")))
    redis["spec"]["redisConfig"]["additionalConfig"] = "redis-config"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(redis, OWN_SCHEMAS["redis.redis.opstreelabs.in/v1beta2 Redis"])
    deployment = json.loads(json.dumps(one("production", "Deployment", "api")))
    deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, VERSIONS[-1], strict=True)
