"""OpenTelemetry traces, when an OTLP endpoint is set: a span a request, and below it one for each photo's way.

The traceparent travels with the job. Spans hold routes, times and request ids; never photos, names or what was found.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span

Attributes = Mapping[str, str | int | float]


class Tracing:
    """Sends spans to an OTLP/HTTP endpoint, in the background. Raises ValueError without the packages for it."""

    def __init__(self, endpoint: str, service: str) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError as error:
            raise ValueError(f"traces need {error.name}: install allinone-face[otel]") from error
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=5), schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("allinone-face")
        self._context = TraceContextTextMapPropagator()

    def begin(self, name: str, parent: str | None, start: int | None = None) -> Span:
        """Begin a span, below the W3C traceparent if it is valid; `start` is nanoseconds since 1970."""
        above = self._context.extract({"traceparent": parent} if parent else {})
        return self._tracer.start_span(name, context=above, start_time=start)

    def header(self, span: Span) -> str:
        """Return the traceparent of a span, which spans below it name as their parent."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._context.inject(carrier, set_span_in_context(span))
        return carrier.get("traceparent", "")

    def record(self, name: str, parent: str, seconds: float, attributes: Attributes) -> None:
        """Record a span that ends now and began `seconds` ago."""
        now = time.time_ns()
        span = self.begin(name, parent, now - round(seconds * 1e9))
        span.set_attributes(attributes)
        span.end(now)

    def close(self) -> None:
        """Send the spans that are waiting, and end the tracing."""
        self._provider.shutdown()


def open_tracing(endpoint: str | None, service: str) -> Tracing | None:
    """Return the tracing of an OTLP endpoint, None where none is set."""
    return Tracing(endpoint, service) if endpoint else None
