"""Reading flows as a server would: settings in, a function from source to flow or violations out."""

from __future__ import annotations

from collections.abc import Callable

from flowtide.expressions import compile_template
from flowtide.model.flow import PluginDefault
from flowtide.model.source import ParsedFlow, parse_flow
from flowtide.services.plugins import discover_plugins
from flowtide.settings import Settings


def flow_reader(settings: Settings) -> Callable[[str], ParsedFlow]:
    """A reader with the plugins and the plugin defaults of this installation; templates are compiled."""
    registry = discover_plugins()
    defaults = [PluginDefault.model_validate(each) for each in settings.plugins.defaults]

    def check(text: str) -> None:
        compile_template(text)

    def read(source: str) -> ParsedFlow:
        return parse_flow(source, registry, plugin_defaults=defaults, check=check)

    return read
