"""From a process to its web server: the API on what the process has opened, listening where the settings say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowtide.api.application import Backends, application, authentication_of, site_of
from flowtide.expressions import Limits, Scope, compile_template, render_value
from flowtide.model.flow import PluginDefault
from flowtide.model.source import ParsedFlow, parse_flow
from flowtide.secrets import Secrets, open_secrets
from flowtide.services.process import Process
from flowtide.services.webserver import Webserver


def webserver(process: Process) -> Webserver:
    """The web server of a process that has its log, index, storage, catalog and client.

    Raises ValueError when the configured login is none.
    """
    settings = process.settings
    surroundings = process.surroundings
    defaults = [PluginDefault.model_validate(each) for each in settings.plugins.defaults]

    def parse(source: str) -> ParsedFlow:
        return parse_flow(source, process.registry, plugin_defaults=defaults, check=_check)

    secrets = open_secrets(settings.secret.type, surroundings.environment)
    limits = Limits(regex_timeout=settings.regex_timeout)

    def render(value: Any, variables: Mapping[str, Any]) -> Any:
        functions = _functions(secrets, variables)
        scope = Scope(variables, functions=functions, now=surroundings.clock, limits=limits)
        return render_value(value, scope, typed=True)

    backends = Backends(
        log=process.log,
        index=process.index,
        storage=process.storage,
        catalog=process.catalog,
        resources=process.client,
        authentication=authentication_of(settings, process.catalog, process.client),
        metrics=process.metrics,
        tracing=process.tracing,
        clock=surroundings.clock,
        new_identifier=surroundings.ids,
        parse_flow=parse,
        render=render,
    )
    server = settings.server
    return Webserver(
        application(backends, site_of(settings)),
        host=server.host,
        port=server.port,
        idle_timeout=server.idle_timeout,
        access_log=server.access_log.enabled,
        access_log_exclusions=server.access_log.exclusions,
    )


def _check(template: str) -> None:
    compile_template(template)


def _functions(secrets: Secrets, variables: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """What templates of inputs, webhooks and checks may call beyond what every template may."""
    flow = variables.get("flow", {})

    def secret(key: str, namespace: str | None = None, subkey: str | None = None) -> str:
        where = namespace if isinstance(namespace, str) else str(flow.get("namespace", ""))
        return secrets.find(
            tenant_id=str(flow.get("tenantId", "")), namespace=where, name=str(key), subkey=subkey
        )

    return {"secret": secret}
