"""Dashboard and alert rules: they work, and speak of metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from service.errors import ServiceError
from service.gallery import searchers  # noqa: F401 - its errors are registered when it is imported
from service.http.auth import ENDPOINTS
from service.ops.metrics import Metrics

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/components/monitoring"
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text())
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
EXPRESSIONS = {
    f"panel {panel['title']}: {target['expr']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
EXPRESSIONS |= {f"alert {name}": rule["expr"] for name, rule in ALERTS.items()}
OF_PROMETHEUS = {"up", "ALERTS"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's prometheus")


def families() -> dict[str, set[str]]:
    """The series that the service has, each with its labels, from the text that it serves."""
    metrics = Metrics()
    for metric in vars(metrics).values():
        names = getattr(metric, "_labelnames", ())
        if names:
            metric.labels(*names)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


SERIES = families()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_metric_and_label_is_one_of_the_service(where: str):
    expression = re.sub(r'"[^"]*"', '""', EXPRESSIONS[where])
    names = re.findall(r"\b(face_\w+|up|ALERTS)\b(?:\{([^}]*)\})?", expression)
    assert names
    for name, matchers in names:
        assert name in SERIES or name in OF_PROMETHEUS, name
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers))
        assert labels <= SERIES.get(name, set()) | {"job", "instance"}, (name, labels)
    grouped = {
        label.strip() for group in re.findall(r"\b(?:by|without) \(([^)]+)\)", expression) for label in group.split(",")
    }
    known = set.union(*(SERIES.get(name, set()) for name, _ in names)) | {"job", "instance"}
    assert grouped <= known


def test_routes_and_reasons_are_the_services():
    text = " ".join(EXPRESSIONS.values())
    assert set(re.findall(r'reason="(\w+)"', text)) <= set(ServiceError.codes)
    routes = set(re.findall(r'route="([^"]+)"', text))
    assert "/v1/faces" in routes
    assert routes <= {path for _, path, _, _ in ENDPOINTS}


def test_the_dashboard_shows_what_was_asked_for():
    panels = " ".join(expression for where, expression in EXPRESSIONS.items() if where.startswith("panel"))
    ending = re.compile(r"_(bucket|count|sum|created|total)$")
    shown = {ending.sub("", name) for name in re.findall(r"face_\w+", panels)}
    assert {ending.sub("", name) for name in SERIES} == shown
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_panels_do_not_overlap():
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & cells, panel["title"]
        assert at["x"] + at["w"] <= 24
        cells |= own


@needs_promtool
def test_the_rules_pass_their_unit_tests():
    checked = subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yml"], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_a_test_that_makes_it_fire_and_one_that_does_not():
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]
    cases = [case for test in tests for case in test["alert_rule_test"]]
    for name in ALERTS:
        assert {bool(case["exp_alerts"]) for case in cases if case["alertname"] == name} == {True, False}, name


@needs_promtool
def test_the_dashboards_queries_are_promql(tmp_path: Path):
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(EXPRESSIONS.values())
    ]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_of_the_compose_file_takes_its_configuration(tmp_path: Path):
    shutil.copy(ROOT / "docker/prometheus.yml", tmp_path)
    shutil.copy(FOLDER / "rules.yml", tmp_path)
    done = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operator_gets_the_same_rules():
    assert json.loads((FOLDER / "prometheusrule.json").read_text())["spec"] == RULES


def test_every_alert_names_a_runbook_that_there_is():
    headings = set(re.findall(r"^## (.+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE))
    for name, rule in ALERTS.items():
        file, heading = re.fullmatch(r"(docs/operations\.md), '(.+)'", rule["annotations"]["runbook"]).groups()
        assert heading in headings, (name, file)
