"""Traces and metrics: where they go, what they are called, and how trace context crosses processes.

Names follow OpenTelemetry's semantic conventions 1.44 for RPC and messaging; they stand here and nowhere else.
Source: W3C Trace Context; https://opentelemetry.io/docs/specs/semconv/rpc/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace

from bessemer.svckit.context import current_traceparent

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

__all__ = [
    "attach",
    "begin_server_span",
    "end_server_span",
    "inject",
    "inject_environ",
    "link",
    "parent_of",
    "prometheus_text",
    "setup",
]

HEADER = "traceparent"
ENVIRON = "TRACEPARENT"
RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS_CODE = "rpc.response.status_code"
ERROR_TYPE = "error.type"
SERVER_DURATION = "rpc.server.call.duration"
SERVER_DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_tracer = trace.get_tracer("bessemer")
_duration = metrics.get_meter("bessemer").create_histogram(
    SERVER_DURATION,
    unit="s",
    description="Duration of RPCs as the server sees them",
    explicit_bucket_boundaries_advisory=SERVER_DURATION_BUCKETS_S,
)


def setup(service: str, endpoint: str | None, *, scraped: bool = False, version: str = "") -> Callable[[], None]:
    """Export traces and metrics to an OTLP gRPC endpoint, keep metrics for `prometheus_text`, or neither.

    Returns what flushes and stops the export.
    """
    if endpoint is None and not scraped:
        return lambda: None
    # Only here: they take 150 ms and 10 MB, and many processes export nothing.
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    resource = Resource.create({"service.name": f"bessemer-{service}", "service.version": version})
    readers, stops = list[MetricReader](), list[Callable[[], object]]()
    if scraped:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader

        readers.append(PrometheusMetricReader())
    if endpoint is not None:
        reader, stop_traces = _otlp(endpoint, resource)
        readers.append(reader)
        stops.append(stop_traces)
    meters = MeterProvider(resource=resource, metric_readers=readers)
    metrics.set_meter_provider(meters)
    stops.append(meters.shutdown)

    def stop() -> None:
        for each in stops:
            each()

    return stop


def prometheus_text() -> bytes:
    """Return all metrics of this process in Prometheus' text form."""
    from prometheus_client import generate_latest

    return generate_latest()


def _otlp(endpoint: str, resource: Resource) -> tuple[MetricReader, Callable[[], object]]:
    """Start exporting traces; return the reader that exports metrics, and what stops the traces."""
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    plain = not endpoint.startswith("https://")
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=plain)))
    trace.set_tracer_provider(tracers)
    exporter = OTLPMetricExporter(endpoint=endpoint, insecure=plain)
    return PeriodicExportingMetricReader(exporter), tracers.shutdown


def parent_of(traceparent: str) -> trace.SpanContext | None:
    """Return the remote span that a W3C header names; None when it names none."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None:
        return None
    trace_id, span_id, flags = (int(group, 16) for group in match.groups())
    parent = trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=trace.TraceFlags(flags))
    return parent if parent.is_valid else None


def attach(traceparent: str) -> None:
    """Make the remote span the parent of what this task, thread or process does from here on."""
    parent = parent_of(traceparent)
    if parent is not None:
        otel_context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))


def inject(carrier: MutableMapping[str, str], *, key: str = HEADER) -> None:
    """Write the current trace context into message or metadata headers, if there is one."""
    if value := current_traceparent():
        carrier[key] = value


def inject_environ(environ: MutableMapping[str, str]) -> None:
    """Write the current trace context into the environment of a process about to start."""
    inject(environ, key=ENVIRON)


def link(headers: Mapping[str, str]) -> list[trace.Link]:
    """Return the link from the processing of a message to the call that caused it; linked, not parented."""
    cause = parent_of(headers.get(HEADER, ""))
    return [] if cause is None else [trace.Link(cause)]


def begin_server_span(path: str, traceparent: str) -> trace.Span:
    """Start the span of a call and make it current for the rest of this task."""
    parent = parent_of(traceparent)
    context = None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent))
    span = _tracer.start_span(
        path[1:], context, kind=trace.SpanKind.SERVER, attributes={RPC_SYSTEM: "grpc", RPC_METHOD: path[1:]}
    )
    if span.get_span_context().is_valid:
        otel_context.attach(trace.set_span_in_context(span))
    return span


def end_server_span(span: trace.Span, path: str, code: str, seconds: float) -> None:
    """End the span and count the call."""
    attributes = {RPC_SYSTEM: "grpc", RPC_METHOD: path[1:], RPC_STATUS_CODE: code}
    if code in _SERVER_FAULTS:
        attributes[ERROR_TYPE] = code
        span.set_status(trace.StatusCode.ERROR)
    _duration.record(seconds, attributes)
    span.set_attributes(attributes)
    span.end()
