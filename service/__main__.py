"""The command line: `allinone-face serve` (all in one process) and `allinone-face analyze` (photos to JSON lines)."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from service import logs
from service.app import create_app
from service.broker.local import LocalBroker
from service.config import Settings, explain
from service.metrics import Metrics
from service.schemas import Options

if TYPE_CHECKING:
    from model.pipeline import Analyzer

log = logging.getLogger(__name__)


class CommandError(Exception):
    """Something the user can mend; its text is all they see."""


def main(words: Sequence[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed with a clear line on standard error, 2 bad arguments or settings."""
    arguments = _parser().parse_args(words)
    names = ("host", "port", "device", "dtype", "weights", "proposals")
    given = {name: getattr(arguments, name, None) for name in names}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        _complain(explain(error))
        sys.exit(2)
    try:
        status = arguments.command(settings, arguments)
    except CommandError as error:
        _complain(str(error))
        status = 1
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # who read our output has left, e.g. `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "allinone-face", description="Faces in photos. Settings are also read from FACE_…."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="the API, the page and the model in one process")
    serve.set_defaults(command=_serve)
    serve.add_argument("--host", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", help="port to listen on (8000)")

    analyze = commands.add_parser("analyze", help="analyse photos and write JSON lines")
    analyze.set_defaults(command=_analyze)
    analyze.add_argument("photos", nargs="+", metavar="PHOTO", type=Path, help="a photo, or a folder of photos")
    analyze.add_argument("--json", metavar="FILE", type=Path, help="where the lines go (standard output)")
    analyze.add_argument("--draw", metavar="DIR", type=Path, help="also write copies with the faces drawn into DIR")
    analyze.add_argument("--descriptor", action="store_true", help="with the 512-d descriptor of each face")
    analyze.add_argument("--max-faces", type=int, help="the largest so many faces of a photo (100)")
    analyze.add_argument("--min-size", type=float, help="shorter side of the smallest face, pixels (24)")
    analyze.add_argument("--min-score", type=float, help="lowest detection score (the model's own)")

    for command in (serve, analyze):
        command.add_argument("--device", help="cpu, cuda or cuda:N (cpu)")
        command.add_argument("--dtype", help="float32, bfloat16 or float16 (float32)")
        command.add_argument("--weights", metavar="FILE", help="another checkpoint than the one that ships")
        command.add_argument("--proposals", help="dense or selective-search (dense)")
    return parser


def _complain(text: str) -> None:
    for line in text.splitlines():
        sys.stderr.write(f"allinone-face: {line}\n")


def _serve(settings: Settings, _: argparse.Namespace) -> int:
    logs.configure(settings.log_level)
    listening = _listen(settings.host, settings.port)
    analyzer = _load(settings)
    from service.worker import Worker, running

    metrics = Metrics()
    broker = LocalBroker(settings.queue_size, settings.queue_bytes)
    server = _server(create_app(settings, broker, metrics), settings)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn raises the signal again when it has stopped
    host, port = listening.getsockname()[:2]
    log.info("listening", extra={"url": f"http://{f'[{host}]' if ':' in host else host}:{port}/"})
    worker = Worker(broker, analyzer, settings, metrics)
    with running(worker, settings.shutdown_grace, on_end=lambda: setattr(server, "should_exit", True)):
        server.run(sockets=[listening])
        if worker.failed:
            raise CommandError("the worker ended by itself; the log says why")
    return 0


def _load(settings: Settings) -> Analyzer:
    """The model, or a CommandError that says what is missing."""
    try:
        from service.worker import load_analyzer
    except ModuleNotFoundError as error:
        raise CommandError(f"the model needs {error.name}: install allinone-face[model]") from error
    try:
        return load_analyzer(settings)
    except (OSError, ValueError, RuntimeError) as error:
        raise CommandError(f"the model cannot be loaded: {error}") from error


def _analyze(settings: Settings, arguments: argparse.Namespace) -> int:
    names = ("max_faces", "min_size", "min_score", "descriptor")
    chosen = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    try:
        options = Options(**chosen)
    except ValidationError as error:
        raise CommandError("; ".join(f"--{item['loc'][0]}: {item['msg']}" for item in error.errors())) from error
    analyzer = _load(settings)
    from service import offline

    photos = offline.expand(arguments.photos)
    if not photos:
        raise CommandError("no photo in these folders")
    try:
        failures = offline.analyze(photos, analyzer, settings, options, arguments.json, arguments.draw, _complain)
    except OSError as error:
        raise CommandError(f"cannot write: {error}") from error
    return 1 if failures else 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise CommandError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error


def _server(app: FastAPI, settings: Settings) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_grace),
    )
    return uvicorn.Server(config)


if __name__ == "__main__":
    main()
