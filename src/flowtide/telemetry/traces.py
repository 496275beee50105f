"""OpenTelemetry traces (A §14): settings go in, a `Tracing` comes out that makes spans, or costs nothing
when off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from flowtide.settings import Settings, SettingsError, TraceLevel

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

#: Categories that `traces.categories` can switch off, under the names that Kestra gives them (OTEL-4).
EXECUTOR = "io.kestra.core.runners.Executor"
WORKER = "io.kestra.core.runners.Worker"
SUBFLOW = "io.kestra.plugin.core.flow.Subflow"
FOR_EACH_ITEM = "io.kestra.plugin.core.flow.ForEachItem"
#: The API's spans; `traces.root` does not switch them off.
API = "api"

_NO_SPAN: AbstractContextManager[None] = nullcontext()


class Tracing:
    """Makes spans. When tracing is off, `span` gives back one shared empty context and nothing is looked
    up.
    """

    def __init__(
        self, provider: TracerProvider | None, *, root: bool = True, disabled: frozenset[str] = frozenset()
    ) -> None:
        self.provider = provider
        self._root = root
        self._disabled = disabled
        self._tracer = provider.get_tracer("flowtide") if provider is not None else None

    @property
    def enabled(self) -> bool:
        """Whether any spans are made."""
        return self._tracer is not None

    def traces(self, category: str) -> bool:
        """Whether spans of the category are made."""
        if self._tracer is None:
            return False
        return category == API or (self._root and category not in self._disabled)

    def span(
        self,
        name: str,
        *,
        category: str,
        traceparent: str | None = None,
        attributes: Mapping[str, str | int | float | bool] | None = None,
    ) -> AbstractContextManager[Any]:
        """A span for the length of a `with` block, a child of `traceparent` or of the span around it.

        An exception that leaves the block marks the span as failed and travels on.
        """
        if self._tracer is None or not self.traces(category):
            return _NO_SPAN
        return self._span(name, traceparent, attributes)

    @contextmanager
    def _span(
        self,
        name: str,
        traceparent: str | None,
        attributes: Mapping[str, str | int | float | bool] | None,
    ) -> Iterator[Any]:
        assert self._tracer is not None
        context = _context(traceparent) if traceparent else None
        with self._tracer.start_as_current_span(name, context=context, attributes=attributes) as span:
            yield span

    def traceparent(self) -> str | None:
        """The header `traceparent` of the span around the caller, for records and requests; None without
        one.
        """
        if self._tracer is None:
            return None
        from opentelemetry import trace

        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def close(self) -> None:
        """Send what is not sent yet; takes up to the exporter's time limit."""
        if self.provider is not None:
            self.provider.shutdown()


def _context(traceparent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": traceparent})


def configure_tracing(
    settings: Settings, *, service: str = "", exporter: SpanExporter | None = None
) -> Tracing:
    """The tracing of this process (OTEL-1): off unless `micronaut.otel.enabled`.

    `service` is the kind of service, told with each span. `exporter` takes the place of the one in the
    settings, for tests. Raises SettingsError when the exporter's package is not installed.
    """
    if not settings.otel.enabled or (exporter is None and settings.otel.exporter == "none"):
        return Tracing(None)
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    attributes = {"service.name": settings.otel.service_name}
    if service:
        attributes["service.component"] = service
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        provider.add_span_processor(BatchSpanProcessor(_otlp(settings.otel.endpoint)))
    disabled = frozenset(
        name for name, level in settings.traces.categories.items() if level is TraceLevel.DISABLED
    )
    return Tracing(provider, root=settings.traces.root is TraceLevel.DEFAULT, disabled=disabled)


def _otlp(endpoint: str) -> SpanExporter:
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError:
        missing = "`otel.traces.exporter: otlp` needs the extra `otlp`: pip install 'flowtide[otlp]'"
        raise SettingsError([missing]) from None
    return OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
