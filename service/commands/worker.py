"""`allinone-face worker`: one device, joined to the API processes by Redis, with a small HTTP server of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from service import logs
from service.broker.seal import open_seal
from service.commands import CommandError, Commands, model, settle
from service.commands.probes import showing
from service.config import Settings
from service.metrics import Metrics

if TYPE_CHECKING:
    from model.pipeline import Analyzer


def add(commands: Commands) -> None:
    """The parser of `worker`."""
    parser = commands.add_parser("worker", help="one device that analyses what API processes put into Redis")
    parser.set_defaults(command=lambda settings, _: work(settings, model.load))
    parser.add_argument("--metrics-port", help="port of this worker's /metrics, /livez and /readyz (none)")
    model.add_options(parser)


def work(settings: Settings, load: Callable[[Settings], Analyzer]) -> int:
    """Work until SIGTERM or SIGINT; what is held is finished first."""
    logs.configure(settings.log_level)
    if settings.redis_url is None:
        raise CommandError("a worker needs FACE_REDIS_URL, e.g. redis://127.0.0.1:6379/0")
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    analyzer = load(settings)
    from service.broker.redis_worker import RedisWorker
    from service.worker import Worker, running

    try:
        seal = open_seal(settings)
    except ValueError as error:
        raise CommandError(str(error)) from error
    limits = settings.queue_lease, settings.queue_deliveries
    try:
        broker = RedisWorker(settings.redis_url, analyzer.digest, *limits, seal)
    except (RedisError, ValueError) as error:
        raise CommandError(f"the queue cannot be reached: {error}") from error
    metrics = Metrics()
    worker = Worker(broker, analyzer, settings, metrics)
    metrics.describe(analyzer.digest, analyzer.info)

    def shown() -> bytes:
        metrics.worker_up.set(worker.ready)
        return metrics.render()

    settle()
    with showing(settings, shown, lambda: worker.ready):
        with running(worker, settings.shutdown_grace, on_end=over.set):
            over.wait()
        broker.close()
    if worker.failed:
        raise CommandError("the worker ended by itself; the log says why")
    return 0
