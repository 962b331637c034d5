"""The listener of its own that monitoring asks, where the API's port wants a key."""

import socket
import threading
from pathlib import Path

import httpx

from service.commands.serve import http_server, serve_monitoring
from service.config import Settings
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from tests.ports import free_port
from tests.service.serving import CARD, WORKER, until


def test_metrics_and_probes_on_a_port_of_their_own_need_no_key(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings(data_dir=tmp_path, api_keys="on", metrics_port=port)
    queue = LocalQueue(settings.queue_size, settings.queue_bytes)
    listening = socket.create_server(("127.0.0.1", 0))
    server = http_server(settings, queue, Metrics())
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until(lambda: server.started)
    own = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with serve_monitoring(settings, server):
            asked = f"http://127.0.0.1:{port}"
            assert httpx.get(f"{own}/metrics", verify=False).status_code == 401
            assert "face_worker_up 0.0" in httpx.get(f"{asked}/metrics", verify=False).text
            assert httpx.get(f"{asked}/livez", verify=False).status_code == 200
            assert httpx.get(f"{asked}/readyz", verify=False).status_code == 503
            queue.announce(WORKER, CARD)
            assert httpx.get(f"{asked}/readyz", verify=False).status_code == 200
            assert "face_worker_up 1.0" in httpx.get(f"{asked}/metrics", verify=False).text
            assert httpx.get(f"{asked}/v1/keys", verify=False).status_code == 404
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
