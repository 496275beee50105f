"""Traces: off costs nothing, on makes spans that know their parents."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flowtide.settings import Settings, SettingsError
from flowtide.telemetry import configure_tracing
from flowtide.telemetry.traces import API, EXECUTOR, WORKER

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def settings(**more: Any) -> Settings:
    """Settings with tracing on."""
    return Settings.load((), {}, {"micronaut.otel.enabled": True, **more})


def test_off_is_one_empty_context() -> None:
    """Without `micronaut.otel.enabled` no span is made and `span` gives back the same object each time."""
    tracing = configure_tracing(Settings())
    assert not tracing.enabled
    assert tracing.span("a", category=API) is tracing.span("b", category=EXECUTOR)
    with tracing.span("a", category=API):
        assert tracing.traceparent() is None
    tracing.close()


def test_spans_link_to_their_parents() -> None:
    """A span continues the trace of a record's `traceparent`, and hands its own on (OTEL-3)."""
    exporter = InMemorySpanExporter()
    tracing = configure_tracing(settings(), service="worker", exporter=exporter)
    with tracing.span("outer", category=API, traceparent=PARENT, attributes={"flow": "f"}):
        handed_on = tracing.traceparent()
        with tracing.span("inner", category=WORKER):
            pass
    tracing.close()
    inner, outer = exporter.get_finished_spans()
    assert outer.context is not None
    assert handed_on == f"00-0af7651916cd43dd8448eb211c80319c-{outer.context.span_id:016x}-01"
    assert outer.parent is not None
    assert f"{outer.parent.span_id:016x}" == "b7ad6b7169203331"
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert outer.resource.attributes["service.component"] == "worker"


def test_flows_and_categories_can_be_off() -> None:
    """`traces.root` switches off flows but not the API, `traces.categories` single parts (OTEL-4)."""
    root = configure_tracing(settings(**{"traces.root": "DISABLED"}), exporter=InMemorySpanExporter())
    assert (root.traces(API), root.traces(EXECUTOR)) == (True, False)
    one = configure_tracing(
        settings(**{"traces.categories": {EXECUTOR: "DISABLED"}}), exporter=InMemorySpanExporter()
    )
    assert (one.traces(WORKER), one.traces(EXECUTOR)) == (True, False)
    for tracing in (root, one):
        tracing.close()


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the exporter's package the error says what to install."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'flowtide\[otlp\]'"):
        configure_tracing(settings())
