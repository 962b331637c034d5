"""Seen from outside: a stock Prometheus scrapes and evaluates rules, an OTLP collector gets the spans."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.ports import free_port
from tests.service.listening import QuietHandler, listening
from tests.service.queue.device import photo
from tests.service.queue.processes import Processes, RedisServer, until

pytestmark = pytest.mark.slow

RULES = """
groups:
  - name: queue
    interval: 1s
    rules:
      - record: face:images:total
        expr: sum(face_images_total)
      - record: face:stage:count
        expr: sum by (stage) (face_stage_duration_seconds_count)
      - record: face:network:p99
        expr: histogram_quantile(0.99, sum by (le) (face_stage_duration_seconds_bucket{stage="queue_wait"}))
      - alert: NoWorker
        expr: max(face_worker_up{job="api"}) < 1
      - alert: SomeWorker
        expr: max(face_worker_up{job="api"}) >= 1
"""
STAGES = {"queue_wait", "batch_wait", "decode", "propose", "network", "post"}


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP/HTTP endpoint and what it was sent."""
    seen = list[bytes]()

    class Answer(QuietHandler):
        def do_POST(self) -> None:
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Answer) as host:
        yield f"http://{host}/v1/traces", seen


def test_spans_of_a_request_reach_from_the_edge_to_the_worker(
    processes: Processes, weights: Path, collector: tuple[str, list[bytes]]
) -> None:
    trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    endpoint, seen = collector
    api = processes.api(FACE_OTLP_ENDPOINT=endpoint)
    worker = processes.worker(weights, FACE_OTLP_ENDPOINT=endpoint)
    until(lambda: api.ready() and worker.ready())
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"traceparent": parent, "X-Request-ID": "seen"}
    assert api.post("/v1/faces", content=photo("grey"), headers=headers).status_code == 200

    def spans() -> dict[str, object]:
        found = {}
        for body in list(seen):
            for resource in trace_service.ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found |= {span.name: span for span in scope.spans if span.trace_id.hex() == parent[3:35]}
        return found

    until(lambda: set(spans()) == {"request", "analyze"})
    request, analysis = spans()["request"], spans()["analyze"]
    assert request.parent_span_id.hex() == parent[36:52]
    assert analysis.parent_span_id == request.span_id
    assert analysis.end_time_unix_nano >= analysis.start_time_unix_nano
    known = {item.key: item.value for item in analysis.attributes}
    assert known["request_id"].string_value == "seen"
    assert {"face.queue_wait_seconds", "face.decode_seconds", "face.batch_wait_seconds"} <= set(known)


def test_a_stock_prometheus_scrapes_under_load_and_its_rules_evaluate(
    server: RedisServer, processes: Processes, weights: Path, tmp_path: Path
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus")
    api, worker = processes.api(), processes.worker(weights)
    until(lambda: api.ready() and worker.ready())
    (tmp_path / "rules.yml").write_text(RULES)
    jobs = {"api": api.url, "worker": worker.url}
    scrapes = [
        {"job_name": name, "scrape_interval": "1s", "static_configs": [{"targets": [url.removeprefix("http://")]}]}
        for name, url in jobs.items()
    ]
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yml"], "scrape_configs": scrapes}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    where = f"http://127.0.0.1:{port}"
    words = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([program, *words, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        with ThreadPoolExecutor(8) as crowd:
            for _ in range(80):
                crowd.submit(api.post, "/v1/faces", content=photo("grey"))

        def found(query: str) -> dict[str, float]:
            try:
                answer = httpx.get(f"{where}/api/v1/query", params={"query": query}, timeout=10).json()
            except httpx.TransportError:
                return {}
            rows = answer.get("data", {}).get("result", [])
            return {
                row["metric"].get("stage", row["metric"].get("alertname", "")): float(row["value"][1]) for row in rows
            }

        until(lambda: found("face:images:total").get("") == 80, 60)
        until(lambda: set(found("face:stage:count > 0")) == STAGES, 30)
        until(lambda: set(found('ALERTS{alertstate="firing"}')) == {"SomeWorker"}, 30)
        assert found("face:network:p99")[""] > 0
        assert found('sum(up{job=~"api|worker"})')[""] == 2
        digest = api.get("/v1/model").json()["digest"]
        assert found(f'count(face_model_info{{digest="{digest}"}})')[""] == 2
        rules = httpx.get(f"{where}/api/v1/rules", timeout=10).json()["data"]["groups"][0]["rules"]
        assert {rule["health"] for rule in rules} == {"ok"}
        worker.kill()
        until(lambda: set(found('ALERTS{alertstate="firing"}')) == {"NoWorker"}, 60)
    finally:
        process.terminate()
        process.wait(20)
