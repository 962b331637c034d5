"""`allinone-face worker` or `serve` with a device that does nothing: what is left is the queue's own cost."""

import sys
import threading

from model.runtime.pipeline import Analyzer
from model.structures import Faces
from service.commands import freeze_startup_objects
from service.commands.serve import http_server, listen
from service.commands.worker import work
from service.config import Settings
from service.ops import logs
from service.ops.metrics import Metrics
from service.queue.local import LocalQueue
from service.worker.loop import Worker, running
from service.worker.results import load_analyzer

NOBODY = Faces.empty()


class Idle(Analyzer):
    """The Analyzer, without its work."""

    def analyze(self, images, limits=None, timings=None):
        """No faces."""
        return [NOBODY for _ in images]


def load(settings: Settings) -> Analyzer:
    """The shipped checkpoint with that device."""
    analyzer = load_analyzer(settings)
    analyzer.__class__ = Idle
    return analyzer


def serve(settings: Settings) -> int:
    """The API and that device in one process."""
    logs.configure(settings.log_level)
    metrics, broker = Metrics(), LocalQueue(settings.queue_size, settings.queue_bytes)
    server, over = http_server(settings, broker, metrics), threading.Event()
    freeze_startup_objects()
    with running(Worker(broker, load(settings), settings, metrics), 10, over.set):
        server.run(sockets=[listen(settings.host, settings.port)])
    return 0


if __name__ == "__main__":
    sys.exit(serve(Settings()) if sys.argv[1] == "serve" else work(Settings(), load))
