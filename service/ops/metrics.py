"""The service's Prometheus metrics, one registry an application; labels have few values and no personal data."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.wire import ModelCard, WorkerInfo

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGES = ("decode", "queue_wait", "batch_wait", "propose", "network", "post")


class Metrics:
    """The metrics, as attributes. The worker's are empty in an API that has its workers elsewhere."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._add_requests()
        self._add_queue()
        self._add_analysis()
        self._add_gallery()

    def _add_requests(self) -> None:
        registry = self.registry
        self.requests = self._seconds("face_request_duration_seconds", "HTTP requests", "route", "method", "status")
        self.request_bytes = Counter("face_request_bytes_total", "Bytes of request bodies", registry=registry)
        self.rejected = Counter("face_rejected_total", "Requests and images refused", ("reason",), registry=registry)
        self.jobs = Counter("face_jobs_total", "Asynchronous jobs that ended", ("outcome",), registry=registry)
        self.jobs_open = Gauge("face_jobs_open", "Asynchronous jobs under way in this process", registry=registry)
        self.webhooks = Counter("face_webhooks_total", "Webhook deliveries", ("outcome",), registry=registry)

    def _add_queue(self) -> None:
        registry = self.registry
        self.queue_depth = Gauge("face_queue_depth", "Images accepted and not finished", registry=registry)
        self.queue_oldest_age = Gauge(
            "face_queue_oldest_age_seconds", "Age of the oldest image no worker holds", registry=registry
        )
        self.redelivered = Counter(
            "face_redelivered_total", "Images taken over from a worker that was lost", registry=registry
        )
        self.dead_letters = Gauge(
            "face_dead_letters", "Images put aside: workers kept dying on them", registry=registry
        )

    def _add_analysis(self) -> None:
        registry = self.registry
        self.stages = self._seconds("face_stage_duration_seconds", "Stages of analysis", "stage")
        self.batch_size = Histogram(
            "face_batch_size", "Images in one call of the model", buckets=(1, 2, 4, 8, 16, 32, 64), registry=registry
        )
        self.faces = Counter("face_faces_total", "Faces found", registry=registry)
        self.images = Counter("face_images_total", "Images analyzed", registry=registry)
        self.worker_up = Gauge("face_worker_up", "Workers alive", registry=registry)
        self.model = Gauge(
            "face_model_info", "The model that answers", ("digest", "preset", "device", "dtype"), registry=registry
        )
        self.device_busy = Counter("face_device_busy_seconds_total", "Seconds the model was at work", registry=registry)
        for stage in STAGES:
            self.stages.labels(stage)

    def _add_gallery(self) -> None:
        registry = self.registry
        self.gallery_size = Gauge("face_gallery_size", "Subjects in all collections", registry=registry)
        self.damaged_collections = Gauge(
            "face_damaged_collections",
            "Collections that somebody else than the service deleted, put back or changed",
            registry=registry,
        )
        self.clock_jump = Gauge(
            "face_clock_jump_seconds",
            "Seconds by which the store's clock was set since the process started",
            registry=registry,
        )
        self.searcher_templates = Gauge(
            "face_searcher_templates", "Templates that a searcher has read into memory", registry=registry
        )
        self.search_duration = self._seconds("face_search_duration_seconds", "One search of a collection")

    def _seconds(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(name, description, labels, buckets=SECONDS, registry=self.registry)

    def describe(self, card: ModelCard, worker: WorkerInfo) -> None:
        """Name a model that answers, and how a worker runs it."""
        self.model.labels(card.digest, card.preset or "", worker.device, worker.dtype).set(1)

    def render(self) -> bytes:
        """Return the metrics in the text format that Prometheus scrapes."""
        return generate_latest(self.registry)
