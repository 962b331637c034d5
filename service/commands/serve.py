"""`allinone-face serve`: the API, the page and the model in one process."""

from __future__ import annotations

import argparse
import logging
import signal
import socket

import uvicorn

from service import logs
from service.app import create_app
from service.broker import ApiSide
from service.broker.local import LocalBroker
from service.commands import CommandError, Commands, model
from service.config import Settings
from service.metrics import Metrics

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
    from service.worker import Worker, running

    metrics = Metrics()
    broker = LocalBroker(settings.queue_size, settings.queue_bytes)
    server = http_server(settings, broker, metrics)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again when it has stopped
    announce(listening)
    worker = Worker(broker, analyzer, settings, metrics)
    with running(worker, settings.shutdown_grace, on_end=lambda: setattr(server, "should_exit", True)):
        server.run(sockets=[listening])
        if worker.failed:
            raise CommandError("the worker ended by itself; the log says why")
    return 0


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
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace),
    )
    return uvicorn.Server(config)
