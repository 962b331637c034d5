"""`allinone-face serve`: the API, the page and the model in one process."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from service.commands import CommandError, freeze_startup_objects, model, show_examples
from service.commands.health import serve_health
from service.commands.startup import announce
from service.config import Settings
from service.http.app import create_app
from service.http.monitoring import Monitoring
from service.http.protocol import HttpProtocol
from service.ops import logs
from service.ops.metrics import Metrics
from service.queue import Producer
from service.queue.by_model import ByModel
from service.queue.local import LocalQueue

if TYPE_CHECKING:
    from model.runtime.pipeline import Analyzer

UNREAD_MS = 60_000
"""Milliseconds until a client that does not take its answer is dropped."""

log = logging.getLogger(__name__)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `serve`."""
    parser.set_defaults(command=serve)
    add_address(parser)
    model.add_options(parser)
    show_examples(parser, "allinone-face serve", "allinone-face serve --host 0.0.0.0 --port 80 --device cuda")


def add_address(parser: argparse.ArgumentParser) -> None:
    """Add the options --host and --port of a server."""
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8000)")


def serve(settings: Settings, _: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; requests that were accepted are answered before it returns."""
    logs.configure(settings.log_level)
    listener = listen(settings.host, settings.port)
    analyzer = model.load(settings)
    if settings.model_digest not in (None, analyzer.digest):
        raise CommandError(
            f"FACE_MODEL_DIGEST names another model than these weights, whose digest is {analyzer.digest}"
        )
    old_model = _load_old_model(settings, analyzer.digest)
    from service.worker.loop import Worker, running

    metrics = Metrics()
    queue = LocalQueue(settings.queue_size, settings.queue_bytes)
    producer: Producer = queue
    workers = [Worker(queue, analyzer, settings, metrics)]
    if old_model is not None:
        old_queue = LocalQueue(settings.queue_size, settings.queue_bytes)
        producer = ByModel(queue, old_queue, old_model[0].digest)
        workers.append(Worker(old_queue, *old_model, metrics))
    server = http_server(settings, producer, metrics)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again when it has stopped
    announce(listener, settings)
    freeze_startup_objects()
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(running(worker, settings.shutdown_grace, on_end=partial(_end, server)))
        stack.enter_context(serve_monitoring(settings, server))
        server.run(sockets=[listener])
        if any(worker.failed for worker in workers):
            raise CommandError("the worker ended by itself; the log says why")
    return 0


@contextmanager
def serve_monitoring(settings: Settings, server: uvicorn.Server) -> Iterator[None]:
    """Serve /metrics, /livez and /readyz on the metrics port, if there is one, while the API runs."""
    app = server.config.app
    assert isinstance(app, FastAPI)
    monitoring = Monitoring(app)
    with serve_health(settings, monitoring.metrics, monitoring.ready):
        yield


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def _load_old_model(settings: Settings, digest: str) -> tuple[Analyzer, Settings] | None:
    """Load the model of FACE_OLD_WEIGHTS, and return it with the settings of its worker. Raises CommandError."""
    if settings.old_weights is None:
        return None
    old_settings = settings.model_copy(
        update={"weights": settings.old_weights, "calibration": settings.old_calibration}
    )
    analyzer = model.load(old_settings)
    if analyzer.digest == digest:
        log.warning("FACE_OLD_WEIGHTS names the model that answers already: it is not loaded twice")
        return None
    return analyzer, old_settings


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address and port. Raises CommandError when it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it: a client that reads no more is dropped
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    return listener


def http_server(settings: Settings, producer: Producer, metrics: Metrics) -> uvicorn.Server:
    """Return the API's server, without logs of its own. Raises CommandError for settings that contradict each other."""
    try:
        app = create_app(settings, producer, metrics)
    except ValueError as error:
        raise CommandError(str(error)) from error
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whoever sends X-Forwarded-For would choose the address and scheme that are believed
        ws="none",
        timeout_graceful_shutdown=int(settings.shutdown_grace),
    )
    return uvicorn.Server(config)
