"""`allinone-face worker`: one device, joined to the API processes by Redis."""

from __future__ import annotations

import argparse
import logging
import signal
import threading

from redis.exceptions import RedisError

from service import logs
from service.commands import CommandError, Commands, model
from service.config import Settings
from service.metrics import Metrics

log = logging.getLogger(__name__)


def add(commands: Commands) -> None:
    """The parser of `worker`."""
    parser = commands.add_parser("worker", help="one device that analyses what API processes put into Redis")
    parser.set_defaults(command=work)
    parser.add_argument("--metrics-port", help="port of this worker's /metrics, /livez and /readyz (none)")
    model.add_options(parser)


def work(settings: Settings, _: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT; what is held is finished first."""
    logs.configure(settings.log_level)
    if settings.redis_url is None:
        raise CommandError("a worker needs FACE_REDIS_URL, e.g. redis://127.0.0.1:6379/0")
    from service.broker.redis_worker import RedisWorker

    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    analyzer = model.load(settings)
    from service.worker import Worker, running

    try:
        broker = RedisWorker(settings.redis_url, analyzer.digest, settings.queue_lease, settings.queue_deliveries)
    except (RedisError, ValueError) as error:
        raise CommandError(f"the queue cannot be reached: {error}") from error
    metrics = Metrics()
    worker = Worker(broker, analyzer, settings, metrics)
    with running(worker, settings.shutdown_grace, on_end=over.set):
        over.wait()
    broker.close()
    if worker.failed:
        raise CommandError("the worker ended by itself; the log says why")
    return 0
