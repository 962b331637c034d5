"""`allinone-face api`: the API and the pages without the model; workers elsewhere connect over Redis."""

from __future__ import annotations

import argparse

from service.commands import CommandError, freeze_startup_objects, show_examples
from service.commands.serve import add_address, http_server, listen, serve_monitoring
from service.commands.startup import announce
from service.config import Settings
from service.crypto.queue_cipher import has_queue_key, load_queue_cipher
from service.ops import logs
from service.ops.metrics import Metrics
from service.queue.producer import RedisProducer


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `api`."""
    parser.set_defaults(command=serve)
    add_address(parser)
    show_examples(parser, "FACE_REDIS_URL=redis://127.0.0.1:6379/0 allinone-face api --port 8000")


def serve(settings: Settings, _: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; requests that were accepted are answered before it returns."""
    logs.configure(settings.log_level)
    if settings.redis_url is None:
        raise CommandError("the API needs FACE_REDIS_URL, e.g. redis://127.0.0.1:6379/0; without Redis use `serve`")
    queue = open_queue(settings)
    listener = listen(settings.host, settings.port)
    server = http_server(settings, queue, Metrics())
    announce(listener, settings)
    freeze_startup_objects()
    with serve_monitoring(settings, server):
        server.run(sockets=[listener])
    return 0


def open_queue(settings: Settings) -> RedisProducer:
    """Open the queue that the settings name. Raises CommandError."""
    try:
        cipher = load_queue_cipher(settings, create=True)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        return RedisProducer(
            str(settings.redis_url),
            settings.queue_size,
            settings.queue_bytes,
            settings.model_digest,
            cipher,
            has_queue_key(settings),
        )
    except ValueError as error:
        raise CommandError(f"FACE_REDIS_URL: {error}") from error
