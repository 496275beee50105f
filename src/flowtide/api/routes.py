"""The table of all routes: who looks for a handler looks here, and the OpenAPI document is made of it.

Paths stand below `/api/v1`.  `{tenant}` may be left out by old clients; the request is for `main` then.
Order matters: of two patterns that fit, the first one is taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps

from aiohttp import web

from flowtide.api import (
    audit_logs,
    blueprints,
    charts,
    concurrency_limits,
    configuration,
    credentials,
    dashboards,
    description,
    evaluations,
    execution_commands,
    execution_flows,
    execution_followers,
    execution_history,
    execution_labels,
    execution_lists,
    execution_loops,
    execution_moments,
    execution_removals,
    execution_waits,
    executions,
    files,
    first_user,
    flow_archives,
    flow_bulk,
    flow_sources,
    flow_tasks,
    flow_validation,
    flows,
    graphs,
    instance,
    key_values,
    logs,
    metrics,
    namespace_files,
    namespaces,
    notices,
    outputs,
    pebble,
    plugins,
    previews,
    replays,
    restarts,
    secrets,
    setup,
    template_bulk,
    templates,
    triggers,
    webhooks,
    worker_groups,
)
from flowtide.api.iam.table import IDENTITY_ROUTES
from flowtide.api.route import PREFIX, TENANT, Route
from flowtide.api.route import route as _route


def _of_execution_or_flow(
    verb: str, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """What a path means that ends in `verb`, which a flow may be called too, as one of page 466 is called `labels`.

    A new execution is asked for by a form; what these verbs take is none, apart from those that no flow may be called.
    """
    if verb not in _ALSO_FLOWS:
        return handler

    @wraps(handler)
    async def either(request: web.Request) -> web.StreamResponse:
        return await (handler if "executionId" in request.match_info else executions.create)(request)

    return either


def meant(request: web.Request, route: Route | None) -> Route | None:
    """The route that a request means: that of a creation for a form to an execution's verb, with its path rewritten.

    Who comes in and what is noted of it is decided on that one.
    """
    if route is None or request.content_type != "multipart/form-data":
        return route
    beginning, _, verb = route.path.rpartition("/")
    if route.method != "POST" or verb not in _ALSO_FLOWS or beginning != _EXECUTION:
        return route
    request.match_info.update(namespace=request.match_info.pop("executionId"), id=verb)
    return _CREATION


_ALSO_FLOWS = frozenset({"labels", "replay", "restart", "resume-from-breakpoint", "state", "unqueue"})
_EXECUTION = "/{tenant}/executions/{executionId}"
_CREATION = _route("POST", "/{tenant}/executions/{namespace}/{id}", executions.create, "ExecutionResponse")
_WEBHOOK = "/{tenant}/executions/webhook/{namespace}/{id}/{key}"
_FLOW = "/{tenant}/flows/{namespace}/{id}"
_TRIGGER = "/{tenant}/triggers/{namespace}/{flowId}/{triggerId}"
_DASHBOARD = "/{tenant}/dashboards/{id}"
_RUNNABLE = "/{tenant}/executions/namespaces/{namespace}/flows"
_AGGREGATES = "/{tenant}/metrics/aggregates/{namespace}/{flowId}"
_COMMUNITY = "/{tenant}/blueprints/community/{kind}"
_NAMESPACE = "/{tenant}/namespaces/{id}"
_PAIRS = "/{tenant}/namespaces/{namespace}/kv"
_FILES = "/{tenant}/namespaces/{namespace}/files"
_SECRETS = "/{tenant}/namespaces/{namespace}/secrets"
_CREDENTIALS = "/{tenant}/namespaces/{namespace}/credentials"

ROUTES: tuple[Route, ...] = (
    # The busiest first.
    *(
        _route(method, path, webhooks.call, "WebhookResponse", open=True)
        for path in (_WEBHOOK, _WEBHOOK + "/{path:.+}")
        for method in ("POST", "GET", "PUT")
    ),
    # executions: fixed paths before those with identifiers
    _route("GET", "/{tenant}/executions/search", executions.search, "PagedResultsExecution"),
    _route("GET", "/{tenant}/executions", executions.list_of_flow, "PagedResultsExecution"),
    _route("DELETE", "/{tenant}/executions/kill/by-ids", execution_commands.kill_by_ids, "BulkResponse"),
    _route("DELETE", "/{tenant}/executions/kill/by-query", execution_commands.kill_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/pause/by-ids", execution_commands.pause_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/pause/by-query", execution_commands.pause_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/force-run/by-ids", execution_commands.force_run_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/force-run/by-query", execution_commands.force_run_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/unqueue/by-ids", execution_commands.unqueue_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/unqueue/by-query", execution_commands.unqueue_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/resume/by-ids", execution_commands.resume_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/resume/by-query", execution_commands.resume_by_query, "BulkResponse"),
    *(
        _route("POST", f"/{{tenant}}/executions/{verb}/{chosen}", handler, "BulkResponse")
        for verb, chosen, handler in (
            ("restart", "by-ids", restarts.restart_by_ids),
            ("restart", "by-query", restarts.restart_by_query),
            ("replay", "by-ids", replays.replay_by_ids),
            ("replay", "by-query", replays.replay_by_query),
            ("change-status", "by-ids", restarts.change_status_by_ids),
            ("change-status", "by-query", restarts.change_status_by_query),
            ("labels", "by-ids", execution_labels.set_labels_by_ids),
            ("labels", "by-query", execution_labels.set_labels_by_query),
        )
    ),
    _route("POST", "/{tenant}/executions/trigger/{namespace}/{id}", executions.create, "ExecutionResponse"),
    _route("DELETE", "/{tenant}/executions/by-ids", execution_removals.delete_by_ids, "BulkResponse"),
    _route("DELETE", "/{tenant}/executions/by-query", execution_removals.delete_by_query, "BulkResponse"),
    _route("GET", "/{tenant}/executions/distinct-field-values", execution_lists.distinct_values, "List[str]"),
    _route("GET", "/{tenant}/executions/export/by-query/csv", execution_lists.export, "text/csv"),
    _route("POST", "/{tenant}/executions/latest", execution_flows.latest, "List[LastExecutionResponse]"),
    _route("GET", "/{tenant}/executions/namespaces", execution_flows.namespaces, "List[str]"),
    _route("GET", _RUNNABLE, execution_flows.flows, "List[FlowForExecution]"),
    _route("GET", _RUNNABLE + "/{flowId}/average-duration", execution_flows.average_duration, "JSON object"),
    _route("GET", "/{tenant}/executions/flows/{namespace}/{flowId}", execution_flows.get_flow, "FlowForExecution"),
    _route("GET", _EXECUTION, executions.get, "Execution"),
    _route("DELETE", _EXECUTION, execution_removals.delete, "no body"),
    _route("GET", _EXECUTION + "/flow", execution_flows.get_flow_of_execution, "FlowForExecution"),
    _route("GET", _EXECUTION + "/graph", graphs.of_execution, "FlowGraph"),
    _route("GET", _EXECUTION + "/events", execution_history.events, "PagedResultsEvent"),
    _route("GET", _EXECUTION + "/events/counts", execution_history.event_counts, "List[EventCount]"),
    _route("GET", _EXECUTION + "/events/follow", execution_history.follow_events, "SSE of Event"),
    _route("GET", _EXECUTION + "/events/density", execution_history.event_density, "EventDensity"),
    _route("GET", _EXECUTION + "/events/{number}/causes", execution_history.event_causes, "List[Event]"),
    _route("GET", _EXECUTION + "/summary", execution_moments.summary, "ExecutionSummary"),
    _route("GET", _EXECUTION + "/task-runs", execution_moments.task_runs, "PagedResultsTaskRun"),
    _route("GET", _EXECUTION + "/task-runs/{taskRunId}", execution_moments.task_run, "TaskRun"),
    _route("GET", _EXECUTION + "/task-runs/{taskRunId}/lanes", execution_loops.lanes, "Lanes"),
    _route(
        "GET", _EXECUTION + "/task-runs/{taskRunId}/iterations", execution_loops.iterations, "PagedResultsIteration"
    ),
    _route("GET", _EXECUTION + "/logs", execution_moments.lines, "ExecutionLines"),
    _route("GET", _EXECUTION + "/waits", execution_waits.waits, "List[Wait]"),
    _route("GET", _EXECUTION + "/causes/{taskRunId}", execution_history.task_run_causes, "List[Event]"),
    _route(
        "GET", _EXECUTION + "/follow-dependencies", execution_followers.follow_dependencies,
        "SSE of ExecutionStatusEvent",
    ),
    _route("GET", _EXECUTION + "/follow", executions.follow, "SSE of Execution"),
    _route("GET", _EXECUTION + "/file", files.download, "bytes"),
    _route("GET", _EXECUTION + "/file/metas", files.metadata, "FileMetas"),
    _route("GET", _EXECUTION + "/file/preview", previews.preview, "FilePreview"),
    *(
        _route(method, f"{_EXECUTION}{before}/{verb}", _of_execution_or_flow(verb, handler), answer)
        for before in ("", "/actions")
        for method, verb, handler, answer in (
            ("DELETE", "kill", execution_commands.kill, "Execution"),
            ("POST", "pause", execution_commands.pause, "Execution"),
            ("POST", "resume", execution_commands.resume, "Execution"),
            ("POST", "resume/validate", execution_commands.validate_resume, "ExecutionValidation"),
            ("POST", "restart", restarts.restart, "Execution"),
            ("POST", "replay", replays.replay, "Execution"),
            ("POST", "replay-with-inputs", replays.replay_with_inputs, "Execution"),
            ("POST", "state", restarts.change_task_run, "Execution"),
            ("POST", "change-status", restarts.change_status, "Execution"),
            ("POST", "labels", execution_labels.set_labels, "Execution"),
            ("POST", "resume-from-breakpoint", execution_commands.resume_from_breakpoint, "Execution"),
            ("POST", "force-run", execution_commands.force_run, "Execution"),
            ("POST", "unqueue", execution_commands.unqueue, "Execution"),
            ("POST", "eval", evaluations.evaluate, "EvalResult"),
            ("POST", "eval/{taskRunId}", evaluations.evaluate_at_task_run, "EvalResult"),
        )
    ),
    _CREATION,
    _route(
        "POST", "/{tenant}/executions/{namespace}/{id}/validate", executions.validate_creation,
        "ExecutionValidation",
    ),
    _route("GET", "/{tenant}/concurrency-limit/search", concurrency_limits.search, "PagedResultsConcurrencyLimit"),
    _route(
        "PUT", "/{tenant}/concurrency-limit/{namespace}/{flowId}", concurrency_limits.update, "ConcurrencyLimit"
    ),
    # flows
    _route("POST", "/{tenant}/flows", flows.create, "FlowWithSource"),
    _route("POST", "/{tenant}/flows/bulk", flows.update_many, "List[Flow]"),
    _route("POST", "/{tenant}/flows/validate", flow_validation.validate, "List[ValidateConstraintViolation]"),
    _route("POST", "/{tenant}/flows/validate/task", flow_validation.validate_task, "ValidateConstraintViolation"),
    _route(
        "POST", "/{tenant}/flows/validate/trigger", flow_validation.validate_trigger, "ValidateConstraintViolation"
    ),
    _route("GET", "/{tenant}/flows/search", flows.search, "PagedResultsFlow"),
    _route("GET", "/{tenant}/flows/source", flow_sources.search, "PagedResultsSearchResultFlow"),
    _route("GET", "/{tenant}/flows/deprecated", flow_sources.deprecated, "List[JSON object]"),
    _route("POST", "/{tenant}/flows/hashes/by-ids", flow_sources.hashes_by_ids, "JSON object"),
    _route("GET", "/{tenant}/flows/distinct-namespaces", flows.namespaces, "List[str]"),
    *(
        _route(method, f"/{{tenant}}/flows/{verb}/{chosen}", handler, "BulkResponse")
        for method, verb, chosen, handler in (
            ("DELETE", "delete", "by-ids", flow_bulk.delete_by_ids),
            ("DELETE", "delete", "by-query", flow_bulk.delete_by_query),
            ("POST", "disable", "by-ids", flow_bulk.disable_by_ids),
            ("POST", "disable", "by-query", flow_bulk.disable_by_query),
            ("POST", "enable", "by-ids", flow_bulk.enable_by_ids),
            ("POST", "enable", "by-query", flow_bulk.enable_by_query),
        )
    ),
    _route("POST", "/{tenant}/flows/export/by-ids", flow_archives.export_by_ids, "bytes"),
    _route("GET", "/{tenant}/flows/export/by-query", flow_archives.export_by_query, "bytes"),
    _route("GET", "/{tenant}/flows/export/by-query/csv", flow_archives.export_csv, "text/csv"),
    _route("POST", "/{tenant}/flows/import", flow_archives.import_flows, "List[str]"),
    _route("POST", "/{tenant}/flows/graph", graphs.of_source, "FlowGraph"),
    _route("POST", "/{tenant}/flows/expressions", flow_tasks.expressions, "List[str]"),
    _route("GET", "/{tenant}/flows/{namespace}", flows.list_of_namespace, "List[Flow]"),
    _route("POST", "/{tenant}/flows/{namespace}", flows.update_namespace, "List[Flow]"),
    _route("GET", _FLOW, flows.get, "FlowWithSource"),
    _route("PUT", _FLOW, flows.update, "FlowWithSource"),
    _route("DELETE", _FLOW, flows.delete, "no body"),
    _route("GET", _FLOW + "/revisions", flows.revisions, "List[FlowWithSource]"),
    _route("DELETE", _FLOW + "/revisions", flows.delete_revisions, "no body"),
    _route("GET", _FLOW + "/graph", graphs.of_flow, "FlowGraph"),
    _route("GET", _FLOW + "/dependencies", graphs.dependencies, "FlowTopologyGraph"),
    _route("GET", _FLOW + "/tasks/{taskId}", flow_tasks.get_task, "Task"),
    _route("PATCH", _FLOW + "/{taskId}", flow_tasks.update_task, "Flow"),
    _route(
        "GET", "/{tenant}/namespaces/{namespace}/dependencies", graphs.dependencies_of_namespace,
        "FlowTopologyGraph",
    ),
    # what flows could share before subflows
    _route("POST", "/{tenant}/templates", templates.create, "Template"),
    _route("GET", "/{tenant}/templates/search", templates.search, "PagedResultsTemplate"),
    _route("GET", "/{tenant}/templates/distinct-namespaces", templates.namespaces, "List[str]"),
    _route("POST", "/{tenant}/templates/validate", templates.validate, "List[ValidateConstraintViolation]"),
    _route("POST", "/{tenant}/templates/import", template_bulk.import_templates, "List[str]"),
    _route("GET", "/{tenant}/templates/export/by-query", template_bulk.export_by_query, "bytes"),
    _route("POST", "/{tenant}/templates/export/by-ids", template_bulk.export_by_ids, "bytes"),
    _route("DELETE", "/{tenant}/templates/delete/by-query", template_bulk.delete_by_query, "BulkResponse"),
    _route("DELETE", "/{tenant}/templates/delete/by-ids", template_bulk.delete_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/templates/{namespace}", template_bulk.update_namespace, "List[Template]"),
    _route("GET", "/{tenant}/templates/{namespace}/{id}", templates.get, "Template"),
    _route("PUT", "/{tenant}/templates/{namespace}/{id}", templates.update, "Template"),
    _route("DELETE", "/{tenant}/templates/{namespace}/{id}", templates.delete, "no body"),
    # namespaces: pairs and files before the namespace itself
    _route("GET", "/{tenant}/kv", key_values.search, "PagedResultsKVEntry"),
    _route("GET", "/{tenant}/kv/", key_values.search, "PagedResultsKVEntry"),  # as page 061 writes it
    _route("GET", _PAIRS, key_values.list_of_namespace, "List[KVEntry]"),
    _route("DELETE", _PAIRS, key_values.delete_many, "KVControllerApiDeleteBulkResponse"),
    _route("GET", _PAIRS + "/inheritance", key_values.inherited, "List[KVEntry]"),
    _route("GET", _PAIRS + "/{key}", key_values.get, "KVControllerKvDetail"),
    _route("GET", _PAIRS + "/{key}/detail", key_values.get, "KVControllerKvDetail"),
    _route("PUT", _PAIRS + "/{key}", key_values.put, "no body"),
    _route("DELETE", _PAIRS + "/{key}", key_values.delete, "bool"),
    _route("GET", _FILES, namespace_files.get, "bytes"),
    _route("POST", _FILES, namespace_files.create, "no body"),
    _route("PUT", _FILES, namespace_files.move, "no body"),
    _route("DELETE", _FILES, namespace_files.delete, "no body"),
    _route("GET", _FILES + "/directory", namespace_files.list_directory, "List[FileAttributes]"),
    _route("POST", _FILES + "/directory", namespace_files.create_directory, "no body"),
    _route("GET", _FILES + "/stats", namespace_files.stats, "FileAttributes"),
    _route("GET", _FILES + "/search", namespace_files.search, "List[str]"),
    _route("GET", _FILES + "/revisions", namespace_files.revisions, "List[NamespaceFileRevision]"),
    _route("GET", _FILES + "/export", namespace_files.export, "bytes"),
    # the installation
    _route("POST", "/instance/maintenance/enter", instance.enter_maintenance, "MaintenanceStatusResponse"),
    _route("POST", "/instance/maintenance/exit", instance.exit_maintenance, "MaintenanceStatusResponse"),
    _route("GET", "/instance/maintenance/status", instance.maintenance_status, "MaintenanceStatusResponse"),
    _route("GET", "/instance/metrics/{serviceType}", instance.metrics, "List[Metric]"),
    _route("GET", "/instance/services/active", instance.active_services, "InstanceControllerApiActiveServiceList"),
    _route("GET", "/instance/services/search", instance.search_services, "PagedResultsServiceInstance"),
    _route("GET", "/instance/services/{id}", instance.service, "ServiceInstance"),
    _route("POST", "/instance/secrets/encrypt-again", instance.encrypt_again, "JSON object"),
    *(
        _route(method, f"/{area}/versioned-plugins{path}", instance.unsupported_plugins, "never")
        for area in ("instance", "cluster")
        for method, path in (
            ("GET", ""), ("POST", "/install"), ("POST", "/resolve"), ("DELETE", "/uninstall"), ("POST", "/upload"),
            ("GET", "/available"), ("GET", "/available/{kind}"), ("GET", "/{groupId}/{artifactId}"),
            ("GET", "/{groupId}/{artifactId}/icon.svg"), ("GET", "/{groupId}/{artifactId}/release-notes"),
            ("GET", "/{groupId}/{artifactId}/{version}"),
        )
    ),
    _route("GET", "/instance/workers/credentials", instance.no_worker_credentials, "never"),
    _route("GET", "/instance/workers/credentials/{id}", instance.no_worker_credentials, "never"),
    _route("POST", "/instance/workers/credentials/{id}/revoke", instance.no_worker_credentials, "never"),
    *(
        route
        for groups in ("/instance/workergroups", "/instance/worker-groups")
        for route in (
            _route("GET", groups, worker_groups.search, "InstanceControllerApiWorkerGroupList"),
            _route("POST", groups, worker_groups.create, "InstanceControllerApiWorkerGroup"),
            _route("GET", groups + "/{id}", worker_groups.get, "InstanceControllerApiWorkerGroupDetails"),
            _route("PUT", groups + "/{id}", worker_groups.update, "InstanceControllerApiWorkerGroup"),
            _route("DELETE", groups + "/{id}", worker_groups.delete, "no body"),
            _route("GET", groups + "/{id}/workers", worker_groups.workers, "JSON object"),
        )
    ),
    _route("GET", "/{tenant}/quota-limits", instance.no_quotas, "List[QuotaLimit]"),
    _route("POST", "/{tenant}/quota-limits/reset", instance.reset_quota, "never"),
    _route("GET", "/banners/search", notices.search_banners, "List[Banner]"),
    _route("GET", "/banners/active", notices.active_banners, "List[Banner]"),
    _route("POST", "/banners", notices.create_banner, "Banner"),
    _route("PUT", "/banners/{id}", notices.update_banner, "Banner"),
    _route("DELETE", "/banners/{id}", notices.delete_banner, "no body"),
    _route("GET", "/kill-switches/search", notices.search_kill_switches, "List[KillSwitch]"),
    _route("POST", "/kill-switches", notices.create_kill_switch, "KillSwitch"),
    _route("PUT", "/kill-switches/{id}", notices.update_kill_switch, "KillSwitch"),
    _route("DELETE", "/kill-switches/{id}", notices.delete_kill_switch, "no body"),
    # the audit log
    _route("GET", "/auditlogs/search", audit_logs.search_all, "PagedResultsAuditLogItem"),
    _route("GET", "/auditlogs/export", audit_logs.export_all, "text/csv"),
    _route("GET", "/auditlogs/{id}/diff", audit_logs.diff_global, "AuditLogControllerAuditLogDiff"),
    _route("GET", "/{tenant}/auditlogs/search", audit_logs.search, "PagedResultsAuditLogItem"),
    _route("GET", "/{tenant}/auditlogs/export", audit_logs.export, "text/csv"),
    _route("POST", "/{tenant}/auditlogs/find", audit_logs.find, "AuditLogControllerApiAuditLogItem"),
    _route(
        "GET", "/{tenant}/auditlogs/history/{detailId:.+}", audit_logs.history,
        "List[AuditLogControllerApiAuditLogItem]",
    ),
    _route("GET", "/{tenant}/auditlogs/{id}/diff", audit_logs.diff, "AuditLogControllerAuditLogDiff"),
    # secrets and credentials of namespaces and of the tenant
    _route("GET", "/{tenant}/secrets", secrets.search, "ApiSecretListResponseApiSecretMeta"),
    _route("GET", _SECRETS, secrets.list_of_namespace, "ApiSecretListResponseApiSecretMeta"),
    _route("PUT", _SECRETS, secrets.put, "List[ApiSecretMetaEE]"),
    _route("PATCH", _SECRETS + "/{key:.+}", secrets.patch, "List[ApiSecretMetaEE]"),
    _route("DELETE", _SECRETS + "/{key:.+}", secrets.delete, "no body"),
    _route("GET", "/{tenant}/namespaces/{namespace}/inherited-secrets", secrets.inherited, "Dict[str, List[str]]"),
    _route("GET", _CREDENTIALS, credentials.list_of_namespace, "PagedResultsCredential"),
    _route("POST", _CREDENTIALS, credentials.create, "Credential"),
    _route("GET", _CREDENTIALS + "/inherited", credentials.inherited, "JSON object"),
    _route("GET", _CREDENTIALS + "/{name}", credentials.get, "Credential"),
    _route("PUT", _CREDENTIALS + "/{name}", credentials.update, "Credential"),
    _route("DELETE", _CREDENTIALS + "/{name}", credentials.delete, "no body"),
    _route("POST", _CREDENTIALS + "/{name}/test", credentials.test, "ApiTestConnectionResponse"),
    _route("GET", "/{tenant}/credentials", credentials.list_of_tenant, "PagedResultsCredential"),
    _route("POST", "/{tenant}/credentials", credentials.create, "Credential"),
    _route("GET", "/{tenant}/credentials/{id}", credentials.get, "Credential"),
    _route("PUT", "/{tenant}/credentials/{id}", credentials.update, "Credential"),
    _route("DELETE", "/{tenant}/credentials/{id}", credentials.delete, "no body"),
    _route("POST", "/{tenant}/credentials/{id}/test", credentials.test, "ApiTestConnectionResponse"),
    _route("POST", "/{tenant}/namespaces", namespaces.create, "Namespace"),
    _route("GET", "/{tenant}/namespaces/search", namespaces.search, "PagedResultsNamespace"),
    _route("POST", "/{tenant}/namespaces/autocomplete", namespaces.autocomplete, "List[str]"),
    _route("GET", _NAMESPACE, namespaces.get, "Namespace"),
    _route("PUT", _NAMESPACE, namespaces.update, "Namespace"),
    _route("DELETE", _NAMESPACE, namespaces.delete, "no body"),
    _route("GET", _NAMESPACE + "/inherited-variables", namespaces.inherited_variables, "JSON object"),
    _route(
        "GET", _NAMESPACE + "/inherited-plugindefaults", namespaces.inherited_plugin_defaults,
        "List[NamespaceControllerApiInheritedPluginDefaultFromNamespace]",
    ),
    _route("POST", _NAMESPACE + "/plugindefaults/export", namespaces.export_plugin_defaults, "bytes"),
    _route("POST", _NAMESPACE + "/plugindefaults/import", namespaces.import_plugin_defaults, "List[str]"),
    # logs
    _route("GET", "/{tenant}/logs/search", logs.search, "PagedResultsLogEntry"),
    _route("DELETE", "/{tenant}/logs/{executionId}", logs.delete_of_execution, "no body"),
    _route("DELETE", "/{tenant}/logs/{namespace}/{flowId}", logs.delete_of_flow, "no body"),
    _route("GET", "/{tenant}/logs/{executionId}", logs.list_of_execution, "List[LogEntry]"),
    _route("GET", "/{tenant}/logs/{executionId}/download", logs.download, "text"),
    _route("GET", "/{tenant}/logs/{executionId}/follow", logs.follow, "SSE of LogEntry"),
    # metrics and outputs
    _route("GET", "/{tenant}/metrics/names/{namespace}/{flowId}", metrics.names_of_flow, "List[str]"),
    _route("GET", "/{tenant}/metrics/names/{namespace}/{flowId}/{taskId}", metrics.names_of_task, "List[str]"),
    _route("GET", "/{tenant}/metrics/tasks/{namespace}/{flowId}", metrics.tasks, "List[str]"),
    _route("GET", _AGGREGATES + "/{metric}", metrics.aggregate_of_flow, "MetricAggregations"),
    _route("GET", _AGGREGATES + "/{taskId}/{metric}", metrics.aggregate_of_task, "MetricAggregations"),
    _route("GET", "/{tenant}/metrics/{executionId}", metrics.of_execution, "PagedResultsMetricEntry"),
    _route("GET", "/{tenant}/outputs/executions/{executionId}", outputs.of_execution, "JSON object"),
    _route("GET", "/{tenant}/outputs/tasks/{executionId}", outputs.task_runs, "List[TaskOutputInformation]"),
    _route("GET", "/{tenant}/outputs/tasks/{executionId}/{taskRunId}", outputs.of_task_run, "JSON object"),
    # triggers
    _route("GET", "/{tenant}/triggers/search", triggers.search, "PagedResultsTriggerControllerTriggers"),
    _route("GET", "/{tenant}/triggers/export/by-query/csv", triggers.export, "text/csv"),
    _route("PUT", "/{tenant}/triggers", triggers.update, "Trigger"),
    _route("PUT", "/{tenant}/triggers/set-disabled", triggers.set_disabled, "Trigger"),
    _route("PUT", "/{tenant}/triggers/backfill/create", triggers.create_backfill, "Trigger"),
    _route("PUT", "/{tenant}/triggers/backfill/pause", triggers.pause_backfill, "Trigger"),
    _route("PUT", "/{tenant}/triggers/backfill/unpause", triggers.resume_backfill, "Trigger"),
    _route("POST", "/{tenant}/triggers/backfill/delete", triggers.delete_backfill, "Trigger"),
    *(
        _route(method, f"/{{tenant}}/triggers/{verb}/by-{by}", handler, "BulkResponse")
        for method, verb, ids, query in (
            ("POST", "unlock", triggers.unlock_by_ids, triggers.unlock_by_query),
            ("DELETE", "delete", triggers.delete_by_ids, triggers.delete_by_query),
            ("POST", "set-disabled", triggers.set_disabled_by_ids, triggers.set_disabled_by_query),
            ("POST", "backfill/pause", triggers.pause_backfills_by_ids, triggers.pause_backfills_by_query),
            ("POST", "backfill/unpause", triggers.resume_backfills_by_ids, triggers.resume_backfills_by_query),
            ("POST", "backfill/delete", triggers.delete_backfills_by_ids, triggers.delete_backfills_by_query),
        )
        for by, handler in (("triggers", ids), ("query", query))
    ),
    _route("GET", "/{tenant}/triggers/{namespace}/{flowId}", triggers.list_of_flow, "PagedResultsTrigger"),
    _route("DELETE", _TRIGGER, triggers.delete, "no body"),
    _route("POST", _TRIGGER + "/restart", triggers.restart, "Trigger"),
    _route("POST", _TRIGGER + "/unlock", triggers.unlock, "Trigger"),
    # plugins: fixed paths before those with types
    _route("GET", "/plugins", plugins.list_of_groups, "List[Plugin] | PagedResultsPlugin"),
    _route("GET", "/plugins/groups/subgroups", plugins.list_of_packages, "List[Plugin]"),
    _route("GET", "/plugins/icons", plugins.icons, "Map[PluginIcon]"),
    _route("GET", "/plugins/icons/groups", plugins.group_icons, "Map[PluginIcon]"),
    _route("GET", "/plugins/icons/{cls}", plugins.icon, "PluginControllerPluginIconResponse"),
    _route("GET", "/plugins/icons/{cls}/icon.svg", plugins.icon_image, "bytes"),
    _route("GET", "/plugins/inputs", plugins.list_of_inputs, "List[InputType]"),
    _route("GET", "/plugins/inputs/{inputType}", plugins.input_documentation, "DocumentationWithSchema"),
    _route("GET", "/plugins/properties/{schemaType}", plugins.properties, "JSONSchema"),
    _route("GET", "/plugins/schemas/{schemaType}", plugins.schema, "JSONSchema"),
    _route("GET", "/plugins/triggers", plugins.list_of_triggers, "PagedResultsPluginControllerApiTriggerPlugin"),
    _route("GET", "/plugins/{cls}", plugins.documentation, "DocumentationWithSchema"),
    _route("GET", "/plugins/{cls}/versions", plugins.versions, "PluginControllerApiPluginVersions"),
    _route(
        "GET", "/plugins/{cls}/versions/{version}", plugins.documentation_of_version, "DocumentationWithSchema"
    ),
    _route("GET", "/{tenant}/schemas/flow.json", plugins.flow_schema, "JSONSchema"),
    # expressions
    _route("GET", "/pebble/filters", pebble.filters, "List[str]"),
    _route("GET", "/pebble/functions", pebble.functions, "JSON object"),
    # dashboards: fixed paths before those with identifiers
    _route("GET", "/{tenant}/dashboards", dashboards.search, "PagedResultsDashboard"),
    _route("POST", "/{tenant}/dashboards", dashboards.create, "Dashboard"),
    _route("POST", "/{tenant}/dashboards/validate", dashboards.validate, "ValidateConstraintViolation"),
    _route("POST", "/{tenant}/dashboards/validate/chart", dashboards.validate_chart, "ValidateConstraintViolation"),
    _route("POST", "/{tenant}/dashboards/charts/preview", charts.preview, "PagedResultsMapStringObject"),
    _route("POST", "/{tenant}/dashboards/charts/export/to-csv", charts.export_preview, "text/csv"),
    _route("POST", "/{tenant}/dashboards/charts/export", charts.export_preview, "text/csv"),
    _route("GET", "/{tenant}/dashboards/settings/default-dashboards", dashboards.defaults, "JSON object"),
    _route("GET", _DASHBOARD, dashboards.get, "Dashboard"),
    _route("PUT", _DASHBOARD, dashboards.update, "Dashboard"),
    _route("DELETE", _DASHBOARD, dashboards.delete, "no body"),
    _route("POST", _DASHBOARD + "/charts/{chartId}", charts.data, "PagedResultsMapStringObject"),
    _route("POST", _DASHBOARD + "/charts/{chartId}/export/to-csv", charts.export, "text/csv"),
    _route("POST", _DASHBOARD + "/charts/{chartId}/export", charts.export, "text/csv"),
    *IDENTITY_ROUTES,
    # blueprints: fixed paths before those with identifiers
    _route("GET", _COMMUNITY, blueprints.search_community, "PagedResultsBlueprintControllerApiBlueprintItem"),
    _route("GET", _COMMUNITY + "/tags", blueprints.community_tags, "List[str]"),
    _route("GET", _COMMUNITY + "/{id}", blueprints.get_community, "BlueprintControllerApiBlueprintItemWithSource"),
    _route("GET", _COMMUNITY + "/{id}/graph", blueprints.community_graph, "JSON object"),
    _route("GET", _COMMUNITY + "/{id}/source", blueprints.community_source, "text"),
    _route("GET", "/{tenant}/blueprints/custom", blueprints.search, "PagedResultsBlueprint"),
    _route("GET", "/{tenant}/blueprints/custom/tags", blueprints.tags, "List[str]"),
    _route("GET", "/{tenant}/blueprints/custom/{id}/source", blueprints.source, "text"),
    *(
        _route(method, f"/{{tenant}}/blueprints/{path}", handler, answer)
        for root in ("flows", "custom")  # as of today, and the former way
        for method, path, handler, answer in (
            ("POST", root, blueprints.create, "BlueprintControllerApiFlowBlueprint"),
            ("GET", root + "/{id}", blueprints.get, "BlueprintControllerApiFlowBlueprint"),
            ("PUT", root + "/{id}", blueprints.update, "BlueprintControllerApiFlowBlueprint"),
            ("DELETE", root + "/{id}", blueprints.delete, "no body"),
        )
    ),
    _route("GET", "/{tenant}/blueprints/flow/{id}", blueprints.get, "BlueprintControllerApiFlowBlueprint"),
    _route(
        "POST", "/{tenant}/blueprints/flows/{id}/use-template", blueprints.use_template,
        "BlueprintControllerUseBlueprintTemplateResponse",
    ),
    # before anybody is logged in
    _route("GET", "/openapi.yaml", description.as_yaml, "text", open=True),
    _route("GET", "/openapi.json", description.as_json, "JSON object", open=True),
    _route("GET", "/setup", first_user.state, "SetupConfiguration", open=True),
    _route("POST", "/setup", first_user.set_up, "ApiUser", open=True),
    _route("POST", "/{tenant}/basicAuth", setup.create_login, "no body", open=True),
    _route("GET", "/license-info", configuration.license_info, "MiscControllerLicenseInfo"),
    _route("GET", "/license/refresh", configuration.refresh_license, "no body"),
    _route("GET", "/configs", configuration.configs, "Configuration", open=True),
    _route("GET", "/configs/login", setup.login_configuration, "MiscControllerLoginConfiguration", open=True),
    _route("GET", "/auths", setup.ways_to_log_in, "List[JSON object]", open=True),
    _route("GET", "/{tenant}/configs", configuration.configs, "Configuration", open=True),
    _route("GET", "/basicAuthValidationErrors", setup.login_errors, "List[str]", open=True),
)  # fmt: skip  # a table


def add_routes(router: web.UrlDispatcher, context_path: str) -> dict[str, Route]:
    """Add the whole table, each path also without its tenant; gives the route of each "METHOD pattern"."""
    patterns: dict[str, Route] = {}
    for each in ROUTES:
        paths = [each.path]
        if each.path.startswith(TENANT + "/"):
            paths.append(each.path.removeprefix(TENANT))
        for path in paths:
            # A file can be looked at without its bytes, too.
            methods = ("GET", "HEAD") if each.method == "GET" and each.answer == "bytes" else (each.method,)
            for method in methods:
                route = router.add_route(method, context_path + PREFIX + path, each.handler)
                if route.resource is not None:
                    patterns.setdefault(f"{method} {route.resource.canonical}", each)
    return patterns
