"""`allinone-face serve`: the API, the page and the model in one process."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from service import logs
from service.app import create_app
from service.broker import ApiSide
from service.broker.by_model import ByModel
from service.broker.local import LocalBroker
from service.commands import CommandError, Commands, model, settle
from service.config import Settings
from service.metrics import Metrics
from service.protocol import HttpProtocol

if TYPE_CHECKING:
    from model.pipeline import Analyzer

UNREAD_MS = 60_000
"""Milliseconds until a client that does not take its answer is dropped."""

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """The parser of `serve`."""
    parser = commands.add_parser("serve", help="the API, the page and the model in one process")
    parser.set_defaults(command=serve)
    add_address(parser)
    model.add_options(parser)


def add_address(parser: argparse.ArgumentParser) -> None:
    """Where to listen."""
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", help="port to listen on (8000)")


def serve(settings: Settings, _: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is accepted is answered first."""
    logs.configure(settings.log_level)
    listening = listen(settings.host, settings.port)
    analyzer = model.load(settings)
    older = _older(settings, analyzer.digest)
    from service.worker import Worker, running

    metrics = Metrics()
    local = LocalBroker(settings.queue_size, settings.queue_bytes)
    broker: ApiSide = local
    workers = [Worker(local, analyzer, settings, metrics)]
    if older is not None:
        second = LocalBroker(settings.queue_size, settings.queue_bytes)
        broker = ByModel(local, second, older[0].digest)
        workers.append(Worker(second, *older, metrics))
    server = http_server(settings, broker, metrics)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again when it has stopped
    announce(listening)
    settle()
    with ExitStack() as stack:
        for worker in workers:
            stack.enter_context(running(worker, settings.shutdown_grace, on_end=partial(_end, server)))
        server.run(sockets=[listening])
        if any(worker.failed for worker in workers):
            raise CommandError("the worker ended by itself; the log says why")
    return 0


def _end(server: uvicorn.Server) -> None:
    server.should_exit = True


def _older(settings: Settings, digest: str) -> tuple[Analyzer, Settings] | None:
    """The model of FACE_OLD_WEIGHTS, and the settings of its worker. Raises CommandError."""
    if settings.old_weights is None:
        return None
    older = settings.model_copy(update={"weights": settings.old_weights, "calibration": settings.old_calibration})
    analyzer = model.load(older)
    if analyzer.digest == digest:
        log.warning("FACE_OLD_WEIGHTS is the model that answers: it is not loaded twice")
        return None
    return analyzer, older


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises CommandError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it: a client that reads no more is dropped
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
    return listening


def announce(listening: socket.socket) -> None:
    """Log the address."""
    host, port = listening.getsockname()[:2]
    log.info("listening", extra={"url": f"http://{f'[{host}]' if ':' in host else host}:{port}/"})


def http_server(settings: Settings, broker: ApiSide, metrics: Metrics) -> uvicorn.Server:
    """The API's server, without logs of its own. Raises CommandError for settings that cannot be."""
    try:
        app = create_app(settings, broker, metrics)
    except ValueError as error:
        raise CommandError(str(error)) from error
    config = uvicorn.Config(
        app,
        http=HttpProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace),
    )
    return uvicorn.Server(config)
