"""`allinone-face worker`: the model on one device for API processes over Redis, with a small HTTP server."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from service.commands import CommandError, freeze_startup_objects, model, show_examples
from service.commands.health import serve_health
from service.config import Settings
from service.crypto.queue_cipher import has_queue_key, load_queue_cipher
from service.ops import logs
from service.ops.metrics import Metrics

if TYPE_CHECKING:
    from model.runtime.pipeline import Analyzer
    from service.queue.consumer import RedisConsumer


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `worker`."""
    parser.set_defaults(command=lambda settings, _: work(settings, model.load))
    parser.add_argument("--metrics-port", help="port of this worker's /metrics, /livez and /readyz (none)")
    model.add_options(parser)
    show_examples(parser, "FACE_REDIS_URL=redis://127.0.0.1:6379/0 allinone-face worker --device cuda:0")


def work(settings: Settings, load: Callable[[Settings], Analyzer]) -> int:
    """Work until SIGTERM or SIGINT; requests that were claimed are finished before it returns."""
    logs.configure(settings.log_level)
    if settings.redis_url is None:
        raise CommandError("a worker needs FACE_REDIS_URL, e.g. redis://127.0.0.1:6379/0")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    analyzer = load(settings)
    from service.worker.loop import Worker, running

    queue = _open_queue(settings, settings.redis_url, analyzer.digest)
    metrics = Metrics()
    worker = Worker(queue, analyzer, settings, metrics)

    def render() -> bytes:
        metrics.worker_up.set(worker.ready)
        return metrics.render()

    freeze_startup_objects()
    with serve_health(settings, render, lambda: worker.ready):
        with running(worker, settings.shutdown_grace, on_end=stop.set):
            stop.wait()
        queue.close()
    if worker.failed:
        raise CommandError("the worker ended by itself; the log says why")
    return 0


def _open_queue(settings: Settings, url: str, digest: str) -> RedisConsumer:
    """Join the queue of the model's requests. Raises CommandError for a bad key or a Redis that cannot be reached."""
    from service.queue.consumer import RedisConsumer

    try:
        cipher = load_queue_cipher(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    try:
        required = has_queue_key(settings)
        return RedisConsumer(url, digest, settings.queue_lease, settings.queue_deliveries, cipher, required)
    except (RedisError, ValueError) as error:
        raise CommandError(f"the queue cannot be reached: {error}") from error
