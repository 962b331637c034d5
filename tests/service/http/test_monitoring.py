"""The listener of its own that monitoring asks, where the API's port wants a key."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from service.commands.serve import http_server, serve_monitoring
from service.config import Settings
from service.gallery.resources import open_keys
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from tests.ports import free_port
from tests.service.serving import CARD, WORKER, until


@contextmanager
def monitored(settings: Settings) -> Iterator[tuple[str, str, LocalQueue]]:
    """Run an API without a worker; yield its address, that of its listener for monitoring, and its queue."""
    queue = LocalQueue(settings.queue_size, settings.queue_bytes)
    listening = socket.create_server(("127.0.0.1", 0))
    server = http_server(settings, queue, Metrics())
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        with serve_monitoring(settings, server):
            yield (
                f"http://127.0.0.1:{listening.getsockname()[1]}",
                f"http://127.0.0.1:{settings.metrics_port}",
                queue,
            )
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()


def test_metrics_and_probes_on_a_port_of_their_own_need_no_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on", metrics_port=free_port())
    with monitored(settings) as (own, asked, queue):
        assert httpx.get(f"{own}/metrics", verify=False).status_code == 401
        assert "face_worker_up 0.0" in httpx.get(f"{asked}/metrics", verify=False).text
        assert httpx.get(f"{asked}/livez", verify=False).status_code == 200
        assert httpx.get(f"{asked}/readyz", verify=False).status_code == 503
        queue.announce(WORKER, CARD)
        assert httpx.get(f"{asked}/readyz", verify=False).status_code == 200
        assert "face_worker_up 1.0" in httpx.get(f"{asked}/metrics", verify=False).text
        assert httpx.get(f"{asked}/v1/keys", verify=False).status_code == 404


def test_both_listeners_say_the_same_of_a_gallery_that_does_not_open(tmp_path: Path) -> None:
    """Whoever asks the listener for monitoring would send callers to a process that answers them with 500."""
    with open_keys(Settings(data_dir=tmp_path)) as keys:
        keys.create("door", ["verify"])
    (tmp_path / "master.key").write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    settings = Settings(data_dir=tmp_path, metrics_port=free_port())
    with monitored(settings) as (own, asked, queue):
        queue.announce(WORKER, CARD)
        for address in (own, asked):
            assert httpx.get(f"{address}/readyz", verify=False).status_code == 503
