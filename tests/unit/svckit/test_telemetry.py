from __future__ import annotations

import contextvars

import pytest
from bessemer.svckit import telemetry
from bessemer.svckit.context import current_traceparent
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_trace_context_crosses_a_process():
    def parent():
        telemetry.attach(PARENT)
        environ: dict[str, str] = {}
        telemetry.inject_environ(environ)
        return environ

    assert contextvars.Context().run(parent) == {"TRACEPARENT": PARENT}
    assert not contextvars.Context().run(current_traceparent)


@pytest.mark.parametrize("bad", ["", "00-0-0-0", "junk", f"ff{PARENT[2:]}", f"00-{0:032x}-{1:016x}-01"])
def test_bad_trace_context_is_ignored(bad):
    assert telemetry.parent_of(bad) is None
    assert telemetry.link({"traceparent": bad}) == []


def test_message_is_linked_to_its_cause():
    [link] = telemetry.link({"traceparent": PARENT})
    assert f"{link.context.trace_id:032x}" in PARENT


def test_server_span_has_parent_names_and_code(monkeypatch):
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meter = MeterProvider(metric_readers=[reader]).get_meter("test")
    monkeypatch.setattr(telemetry, "_tracer", tracers.get_tracer("test"))
    monkeypatch.setattr(telemetry, "_duration", meter.create_histogram(telemetry.SERVER_DURATION, unit="s"))

    def call():
        span = telemetry.begin_server_span("/a.B/C", PARENT)
        inside = current_traceparent()
        telemetry.end_server_span(span, "/a.B/C", "INTERNAL", 0.25)
        return inside

    inside = contextvars.Context().run(call)
    [span] = exporter.get_finished_spans()
    assert inside.split("-")[1:3] == [f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"]
    assert f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" in PARENT
    assert span.name == "a.B/C"
    assert span.attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "a.B/C",
        "rpc.response.status_code": "INTERNAL",
        "error.type": "INTERNAL",
    }
    metric = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0]
    assert (metric.name, metric.data.data_points[0].sum) == ("rpc.server.call.duration", 0.25)


def test_without_exporter_the_callers_context_is_passed_on():
    def call():
        telemetry.begin_server_span("/a.B/C", PARENT)
        return current_traceparent()

    assert contextvars.Context().run(call) == PARENT
