"""Reading flows as a server would: settings in, a function from source to flow or violations out."""

from __future__ import annotations

from collections.abc import Callable

from flowtide.engine.support import warn_of_unsupported
from flowtide.expressions import compile_template
from flowtide.model.source import ParsedFlow, parse_flow
from flowtide.services.plugin_defaults import plugin_defaults
from flowtide.services.plugins import discover_plugins
from flowtide.settings import Settings


def flow_reader(settings: Settings) -> Callable[[str], ParsedFlow]:
    """A reader with the plugins and the plugin defaults of this installation; templates are compiled."""
    registry = discover_plugins()
    defaults = plugin_defaults(settings)

    def check(text: str) -> None:
        compile_template(text)

    def read(source: str) -> ParsedFlow:
        return warn_of_unsupported(parse_flow(source, registry, plugin_defaults=defaults, check=check))

    return read
