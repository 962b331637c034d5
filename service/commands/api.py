"""`allinone-face api`: the API and the page without the model; workers elsewhere are joined by Redis."""

from __future__ import annotations

import argparse

from service import logs
from service.broker.redis import RedisApi
from service.broker.seal import given, open_seal
from service.commands import CommandError, Commands, settle
from service.commands.serve import add_address, announce, http_server, listen
from service.config import Settings
from service.metrics import Metrics


def add(commands: Commands) -> None:
    """The parser of `api`."""
    parser = commands.add_parser("api", help="the API and the page; workers are joined by Redis")
    parser.set_defaults(command=serve)
    add_address(parser)


def serve(settings: Settings, _: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; what is accepted is answered first."""
    logs.configure(settings.log_level)
    if settings.redis_url is None:
        raise CommandError("the API needs FACE_REDIS_URL, e.g. redis://127.0.0.1:6379/0; without Redis use `serve`")
    broker = open_api(settings)
    listening = listen(settings.host, settings.port)
    server = http_server(settings, broker, Metrics())
    announce(listening)
    settle()
    server.run(sockets=[listening])
    return 0


def open_api(settings: Settings) -> RedisApi:
    """The queue that the settings name. Raises CommandError."""
    try:
        seal, strict = open_seal(settings, make=True), given(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    limits = settings.queue_size, settings.queue_bytes, settings.model_digest
    try:
        return RedisApi(str(settings.redis_url), *limits, seal, strict)
    except ValueError as error:
        raise CommandError(f"FACE_REDIS_URL: {error}") from error
