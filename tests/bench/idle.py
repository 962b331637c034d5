"""`allinone-face worker` or `serve` with a device that does nothing: what is left is the queue's own cost."""

import sys
import threading

from model.pipeline import Analyzer
from model.structures import Faces
from service import logs
from service.analysis import load_analyzer
from service.broker.local import LocalBroker
from service.commands import settle
from service.commands.serve import http_server, listen
from service.commands.worker import work
from service.config import Settings
from service.metrics import Metrics
from service.worker import Worker, running

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
    metrics, broker = Metrics(), LocalBroker(settings.queue_size, settings.queue_bytes)
    server, over = http_server(settings, broker, metrics), threading.Event()
    settle()
    with running(Worker(broker, load(settings), settings, metrics), 10, over.set):
        server.run(sockets=[listen(settings.host, settings.port)])
    return 0


if __name__ == "__main__":
    sys.exit(serve(Settings()) if sys.argv[1] == "serve" else work(Settings(), load))
