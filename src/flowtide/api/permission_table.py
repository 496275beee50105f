"""The table of permissions: what each endpoint asks of its caller (page 089, PERM-00); enforcement, the reference
page and the tests read it.  No state.

A block is of one permission; each line is what is needed, the method, and the path below `/api/v1/{tenant}`.
`READ` needs that action; `CREATE+UPDATE` both, `CREATE|UPDATE` either of them, `ANY` whichever; `FLOW:ANY` names
another permission, `&` joins several.  Who acts on rows that the path does not name has them checked one by one,
for the action after `/` when there is one: `ANY/UPDATE` lets everybody in and changes only what may be updated.
`/NONE` says that there are no such rows, and plain `ANY` as well; `/TENANT` that a binding to a namespace is not
enough.  `handler` leaves it to the handler, for a caller who may enter the tenant; `open` needs no login.
"""

from __future__ import annotations

TENANT_TABLE = """
[FLOW]
CREATE                POST   /flows
CREATE+UPDATE+DELETE  POST   /flows/{namespace}
CREATE+UPDATE         POST   /flows/import
CREATE                POST   /namespaces/{namespace}/files/directory
CREATE                POST   /namespaces/{namespace}/files
READ                  GET    /flows/{namespace}/{id}
READ                  GET    /flows/{namespace}/{id}/graph
READ                  GET    /flows/{namespace}/{id}/revisions
READ                  GET    /flows/{namespace}/{id}/tasks/{taskId}
READ                  GET    /flows/search
READ                  GET    /flows/{namespace}
READ                  GET    /flows/source
READ                  GET    /flows/{namespace}/{id}/dependencies
READ                  GET    /namespaces/{namespace}/dependencies
READ                  GET    /flows/export/by-query
READ                  POST   /flows/export/by-ids
READ                  GET    /flows/export/by-query/csv
READ                  GET    /namespaces/{namespace}/files/search
READ                  GET    /namespaces/{namespace}/files
READ                  GET    /namespaces/{namespace}/files/stats
READ                  GET    /namespaces/{namespace}/files/revisions
READ                  GET    /namespaces/{namespace}/files/directory
READ                  GET    /namespaces/{namespace}/files/export
READ                  GET    /triggers/search
READ                  GET    /triggers/{namespace}/{flowId}
READ                  GET    /triggers/export/by-query/csv
ANY                   POST   /flows/graph
ANY/READ              GET    /flows/distinct-namespaces
ANY                   POST   /flows/validate
ANY                   POST   /flows/validate/task
ANY                   POST   /flows/validate/trigger
UPDATE                PUT    /flows/{namespace}/{id}
UPDATE                PATCH  /flows/{namespace}/{id}/{taskId}
UPDATE                POST   /executions/{executionId}/eval/{taskRunId}
UPDATE                POST   /flows/bulk
UPDATE                POST   /flows/disable/by-query
UPDATE                POST   /flows/disable/by-ids
UPDATE                POST   /flows/enable/by-query
UPDATE                POST   /flows/enable/by-ids
UPDATE                PUT    /namespaces/{namespace}/files
DELETE                DELETE /flows/{namespace}/{id}
DELETE                DELETE /flows/delete/by-query
DELETE                DELETE /flows/delete/by-ids
DELETE                DELETE /namespaces/{namespace}/files
READ                  GET    /flows/deprecated
READ                  POST   /flows/hashes/by-ids
DELETE                DELETE /flows/{namespace}/{id}/revisions
ANY                   POST   /flows/expressions
ANY                   GET    /schemas/flow.json
READ/TENANT           GET    /quota-limits
UPDATE/TENANT         POST   /quota-limits/reset

[EXECUTION]
CREATE                POST   /executions/trigger/{namespace}/{id}
CREATE                POST   /executions/{namespace}/{id}
CREATE                POST   /executions/{executionId}/replay
CREATE                POST   /executions/{executionId}/replay-with-inputs
CREATE                GET    /executions/namespaces
CREATE                GET    /executions/namespaces/{namespace}/flows
ANY/CREATE            POST   /executions/{namespace}/{id}/validate
ANY/CREATE            POST   /executions/replay/by-query
READ                  GET    /executions/search
READ                  GET    /executions
READ                  GET    /executions/{executionId}
READ                  GET    /executions/{executionId}/graph
READ                  GET    /executions/{executionId}/flow
READ                  GET    /executions/flows/{namespace}/{flowId}
READ                  GET    /executions/{executionId}/file
READ                  GET    /executions/{executionId}/file/metas
READ                  GET    /executions/{executionId}/file/preview
READ                  GET    /executions/{executionId}/follow
READ                  GET    /executions/{executionId}/follow-dependencies
READ                  GET    /executions/export/by-query/csv
READ                  GET    /logs/{executionId}
READ                  GET    /logs/{executionId}/download
READ                  GET    /logs/{executionId}/follow
READ                  GET    /metrics/{executionId}
READ                  GET    /metrics/names/{namespace}/{flowId}
READ                  GET    /metrics/names/{namespace}/{flowId}/{taskId}
READ                  GET    /metrics/tasks/{namespace}/{flowId}
READ                  GET    /metrics/aggregates/{namespace}/{flowId}/{metric}
READ                  GET    /metrics/aggregates/{namespace}/{flowId}/{taskId}/{metric}
ANY/READ              POST   /executions/latest
ANY/READ              GET    /logs/search
UPDATE                POST   /executions/{executionId}/restart
UPDATE                POST   /executions/restart/by-ids
UPDATE                POST   /executions/{executionId}/state
UPDATE                POST   /executions/{executionId}/change-status
UPDATE                POST   /executions/change-status/by-ids
UPDATE                DELETE /executions/{executionId}/kill
UPDATE                DELETE /executions/kill/by-ids
UPDATE                POST   /executions/{executionId}/resume
UPDATE                POST   /executions/{executionId}/resume-from-breakpoint
UPDATE                POST   /executions/resume/by-ids
UPDATE                POST   /executions/{executionId}/pause
UPDATE                POST   /executions/pause/by-ids
UPDATE                POST   /executions/{executionId}/labels
UPDATE                POST   /executions/labels/by-ids
UPDATE                POST   /executions/{executionId}/unqueue
UPDATE                POST   /executions/unqueue/by-ids
UPDATE                POST   /executions/{executionId}/force-run
UPDATE                POST   /executions/force-run/by-ids
UPDATE                POST   /executions/replay/by-ids
ANY/UPDATE            POST   /executions/restart/by-query
ANY/UPDATE            POST   /executions/change-status/by-query
ANY/UPDATE            DELETE /executions/kill/by-query
ANY/UPDATE            POST   /executions/{executionId}/resume/validate
ANY/UPDATE            POST   /executions/resume/by-query
ANY/UPDATE            POST   /executions/pause/by-query
ANY/UPDATE            POST   /executions/labels/by-query
ANY/UPDATE            POST   /executions/unqueue/by-query
ANY/UPDATE            POST   /executions/force-run/by-query
DELETE                DELETE /executions/{executionId}
DELETE                DELETE /executions/by-ids
DELETE                DELETE /logs/{executionId}
ANY/DELETE            DELETE /executions/by-query
ANY/DELETE            DELETE /logs/{namespace}/{flowId}
FLOW:UPDATE           POST   /executions/{executionId}/eval
READ                  GET    /executions/{executionId}/events
READ                  GET    /executions/{executionId}/events/counts
READ                  GET    /executions/{executionId}/events/follow
READ                  GET    /executions/{executionId}/events/density
READ                  GET    /executions/{executionId}/events/{number}/causes
READ                  GET    /executions/{executionId}/summary
READ                  GET    /executions/{executionId}/task-runs
READ                  GET    /executions/{executionId}/task-runs/{taskRunId}
READ                  GET    /executions/{executionId}/task-runs/{taskRunId}/lanes
READ                  GET    /executions/{executionId}/task-runs/{taskRunId}/iterations
READ                  GET    /executions/{executionId}/logs
READ                  GET    /executions/{executionId}/waits
READ                  GET    /executions/{executionId}/causes/{taskRunId}
READ                  GET    /executions/distinct-field-values
READ                  GET    /executions/namespaces/{namespace}/flows/{flowId}/average-duration
READ                  GET    /outputs/executions/{executionId}
READ                  GET    /outputs/tasks/{executionId}
READ                  GET    /outputs/tasks/{executionId}/{taskRunId}
READ                  GET    /concurrency-limit/search
UPDATE                PUT    /concurrency-limit/{namespace}/{flowId}
UPDATE&FLOW:ANY       PUT    /triggers
UPDATE&FLOW:ANY       PUT    /triggers/set-disabled
UPDATE&FLOW:ANY       PUT    /triggers/backfill/create
UPDATE&FLOW:ANY       PUT    /triggers/backfill/pause
UPDATE&FLOW:ANY       PUT    /triggers/backfill/unpause
UPDATE&FLOW:ANY       POST   /triggers/backfill/delete
UPDATE&FLOW:ANY       POST   /triggers/unlock/by-triggers
UPDATE&FLOW:ANY       POST   /triggers/unlock/by-query
UPDATE&FLOW:ANY       DELETE /triggers/delete/by-triggers
UPDATE&FLOW:ANY       DELETE /triggers/delete/by-query
UPDATE&FLOW:ANY       POST   /triggers/set-disabled/by-triggers
UPDATE&FLOW:ANY       POST   /triggers/set-disabled/by-query
UPDATE&FLOW:ANY       POST   /triggers/backfill/pause/by-triggers
UPDATE&FLOW:ANY       POST   /triggers/backfill/pause/by-query
UPDATE&FLOW:ANY       POST   /triggers/backfill/unpause/by-triggers
UPDATE&FLOW:ANY       POST   /triggers/backfill/unpause/by-query
UPDATE&FLOW:ANY       POST   /triggers/backfill/delete/by-triggers
UPDATE&FLOW:ANY       POST   /triggers/backfill/delete/by-query
UPDATE&FLOW:ANY       DELETE /triggers/{namespace}/{flowId}/{triggerId}
UPDATE&FLOW:ANY       POST   /triggers/{namespace}/{flowId}/{triggerId}/restart
UPDATE&FLOW:ANY       POST   /triggers/{namespace}/{flowId}/{triggerId}/unlock

[TEMPLATE]
CREATE                POST   /templates
CREATE+UPDATE+DELETE  POST   /templates/{namespace}
FLOW:CREATE+UPDATE    POST   /templates/import
READ                  GET    /templates/{namespace}/{id}
READ                  GET    /templates/search
READ                  GET    /templates/export/by-query
READ                  POST   /templates/export/by-ids
ANY/READ              GET    /templates/distinct-namespaces
ANY                   POST   /templates/validate
UPDATE                PUT    /templates/{namespace}/{id}
DELETE                DELETE /templates/{namespace}/{id}
DELETE                DELETE /templates/delete/by-query
DELETE                DELETE /templates/delete/by-ids

[NAMESPACE]
CREATE                POST   /namespaces
READ                  POST   /namespaces/autocomplete
READ                  GET    /namespaces/{id}
READ                  GET    /namespaces/search
READ                  GET    /namespaces/{id}/inherited-variables
READ                  GET    /namespaces/{id}/inherited-plugindefaults
READ                  POST   /namespaces/{id}/plugindefaults/export
UPDATE                PUT    /namespaces/{id}
UPDATE                POST   /namespaces/{id}/plugindefaults/import
DELETE                DELETE /namespaces/{id}

[KVSTORE]
CREATE|UPDATE         PUT    /namespaces/{namespace}/kv/{key}
ANY/READ              GET    /kv
READ                  GET    /namespaces/{namespace}/kv
READ                  GET    /namespaces/{namespace}/kv/inheritance
READ                  GET    /namespaces/{namespace}/kv/{key}
READ                  GET    /namespaces/{namespace}/kv/{key}/detail
DELETE                DELETE /namespaces/{namespace}/kv/{key}
DELETE                DELETE /namespaces/{namespace}/kv
ANY/READ              GET    /kv/

[DASHBOARD]
CREATE                POST   /dashboards
ANY/READ              GET    /dashboards
ANY/READ              GET    /dashboards/{id}
ANY/READ              POST   /dashboards/{id}/charts/{chartId}
ANY/READ              POST   /dashboards/charts/preview
ANY/READ              POST   /dashboards/validate
ANY/READ              POST   /dashboards/validate/chart
ANY/READ              POST   /dashboards/{id}/charts/{chartId}/export/to-csv
ANY/READ              POST   /dashboards/charts/export/to-csv
UPDATE                PUT    /dashboards/{id}
DELETE                DELETE /dashboards/{id}
READ                  POST   /dashboards/charts/export
READ                  POST   /dashboards/{id}/charts/{chartId}/export
READ                  GET    /dashboards/settings/default-dashboards

[SECRET]
ANY/READ              GET    /secrets
READ                  GET    /namespaces/{namespace}/secrets
READ                  GET    /namespaces/{namespace}/inherited-secrets
UPDATE                PUT    /namespaces/{namespace}/secrets
UPDATE                PATCH  /namespaces/{namespace}/secrets/{key}
DELETE                DELETE /namespaces/{namespace}/secrets/{key}

[CREDENTIAL]
CREATE/TENANT         POST   /credentials
CREATE                POST   /namespaces/{namespace}/credentials
READ                  GET    /credentials
READ/TENANT           GET    /credentials/{id}
READ                  GET    /namespaces/{namespace}/credentials
READ                  GET    /namespaces/{namespace}/credentials/{name}
READ                  GET    /namespaces/{namespace}/credentials/inherited
UPDATE/TENANT         PUT    /credentials/{id}
UPDATE/TENANT         POST   /credentials/{id}/test
UPDATE                PUT    /namespaces/{namespace}/credentials/{name}
UPDATE                POST   /namespaces/{namespace}/credentials/{name}/test
DELETE/TENANT         DELETE /credentials/{id}
DELETE                DELETE /namespaces/{namespace}/credentials/{name}

[BLUEPRINT]
CREATE                POST   /blueprints/flows
CREATE                POST   /blueprints/custom
READ                  GET    /blueprints/custom
READ                  GET    /blueprints/custom/{id}
READ                  GET    /blueprints/custom/{id}/source
READ                  GET    /blueprints/custom/tags
READ                  GET    /blueprints/flow/{id}
READ                  GET    /blueprints/flows/{id}
READ                  POST   /blueprints/flows/{id}/use-template
UPDATE                PUT    /blueprints/flows/{id}
UPDATE                PUT    /blueprints/custom/{id}
DELETE                DELETE /blueprints/flows/{id}
DELETE                DELETE /blueprints/custom/{id}

[APP]
CREATE                POST   /apps
CREATE                POST   /apps/import
CREATE/TENANT         POST   /apps/preview
READ                  GET    /apps/search
READ                  GET    /apps/catalog
READ/NONE             GET    /apps/tags
READ                  GET    /apps/{uid}
READ                  POST   /apps/export
UPDATE                PUT    /apps/{uid}
UPDATE                POST   /apps/{uid}/enable
UPDATE                POST   /apps/{uid}/disable
UPDATE                POST   /apps/enable
UPDATE                POST   /apps/disable
DELETE                DELETE /apps/{uid}
DELETE                DELETE /apps

[APPEXECUTION]
open                  GET    /apps/view/{uid}
open                  GET    /apps/view/{id}/file/preview
open                  GET    /apps/view/{id}/file/meta
open                  GET    /apps/view/{id}/file/download
open                  GET    /apps/view/{uid}/logs/download
open                  POST   /apps/view/{id}/dispatch/{dispatch}
open                  GET    /apps/view/{id}/streams/{stream}

[ASSET]
CREATE                POST   /assets
READ                  GET    /assets/{id}
READ                  GET    /assets/{id}/dependencies
READ                  GET    /assets/search
READ                  GET    /assets/usages/search
DELETE                DELETE /assets/{id}
DELETE                DELETE /assets/by-ids
DELETE                DELETE /assets/by-query
READ                  GET    /assets/lineage-events/search
DELETE                DELETE /assets/lineage-events/by-query
DELETE                DELETE /assets/usages/by-query

[TEST]
CREATE                POST   /tests
CREATE                POST   /tests/{namespace}/{id}/run
CREATE                POST   /tests/run
READ                  GET    /tests/{namespace}/{id}
READ                  GET    /tests/search
READ/NONE             POST   /tests/validate
READ                  GET    /tests/results/{id}
READ                  POST   /tests/results/search/last
READ                  GET    /tests/results/search
UPDATE                PUT    /tests/{namespace}/{id}
UPDATE                POST   /tests/disable/by-ids
UPDATE                POST   /tests/enable/by-ids
DELETE                DELETE /tests/{namespace}/{id}
DELETE                DELETE /tests/by-ids

[AUDITLOG]
READ                  GET    /auditlogs/search
READ                  POST   /auditlogs/find
handler               GET    /auditlogs/history/{detailId}
handler               GET    /auditlogs/{id}/diff
READ                  GET    /auditlogs/export

[USER]
CREATE                POST   /integrations/{integration}/scim/v2/Users
READ                  GET    /integrations/{integration}/scim/v2/Users
READ                  GET    /integrations/{integration}/scim/v2/Users/{id}
UPDATE                PUT    /integrations/{integration}/scim/v2/Users/{id}
UPDATE                PATCH  /integrations/{integration}/scim/v2/Users/{id}
UPDATE                DELETE /integrations/{integration}/scim/v2/Users/{id}
READ                  GET    /integrations/{integration}/scim/v2/Schemas
READ                  GET    /integrations/{integration}/scim/v2/ServiceProviderConfig
READ                  GET    /integrations/{integration}/scim/v2/ResourceTypes
CREATE                POST   /security-integrations
READ                  GET    /security-integrations
READ                  GET    /security-integrations/search
READ                  GET    /security-integrations/{id}
UPDATE                POST   /security-integrations/{id}/enable
UPDATE                POST   /security-integrations/{id}/disable
DELETE                DELETE /security-integrations/{id}

[SERVICE_ACCOUNT]
CREATE                POST   /service-accounts
READ                  GET    /service-accounts/{id}
READ                  GET    /service-accounts/{id}/api-tokens
UPDATE                PUT    /service-accounts/{id}
UPDATE                POST   /service-accounts/{id}/api-tokens
DELETE                DELETE /service-accounts/{id}
DELETE                DELETE /service-accounts/{id}/api-tokens/{tokenId}
READ                  GET    /service-accounts

[GROUP]
CREATE                POST   /groups
READ                  GET    /groups/{id}
READ                  GET    /groups/search
READ                  POST   /groups/autocomplete
READ                  POST   /groups/ids
UPDATE                PUT    /groups/{id}
DELETE                DELETE /groups/{id}
READ                  GET    /integrations/{integration}/scim/v2/Groups
CREATE                POST   /integrations/{integration}/scim/v2/Groups
READ                  GET    /integrations/{integration}/scim/v2/Groups/{id}
UPDATE                PUT    /integrations/{integration}/scim/v2/Groups/{id}
UPDATE                PATCH  /integrations/{integration}/scim/v2/Groups/{id}
DELETE                DELETE /integrations/{integration}/scim/v2/Groups/{id}

[GROUP_MEMBERSHIP]
handler               PUT    /groups/{id}/members/{userId}
handler               GET    /groups/{id}/members
handler               PUT    /groups/{id}/members/membership/{userId}
UPDATE                PUT    /users/{id}/groups
handler               DELETE /groups/{id}/members/{userId}

[ROLE]
CREATE                POST   /roles
READ                  GET    /roles/{id}
READ                  GET    /roles/search
READ                  POST   /roles/autocomplete
READ                  POST   /roles/ids
ANY                   GET    /acls/permissions
ANY                   GET    /acls/actions
UPDATE                PUT    /roles/{id}
DELETE                DELETE /roles/{id}

[BINDING]
CREATE                POST   /bindings
CREATE                POST   /bindings/bulk
READ                  GET    /bindings/{id}
READ                  GET    /bindings/search
DELETE                DELETE /bindings/{id}

[INVITATION]
CREATE                POST   /invitations
READ                  GET    /invitations/search
READ                  GET    /invitations/email/{email}
READ                  GET    /invitations/{id}
DELETE                DELETE /invitations/{id}

[TENANT_ACCESS]
CREATE                PUT    /tenant-access/{userId}
CREATE                POST   /tenant-access
READ                  GET    /tenant-access
READ                  POST   /tenant-access/autocomplete
handler               GET    /tenant-access/{userId}
DELETE                DELETE /tenant-access/{userId}

[AI_COPILOT]
ANY                   POST   /ai/generate/flow
"""

INSTANCE_TABLE = """
[open]
GET    /openapi.yaml
GET    /openapi.json
GET    /configs
GET    /{tenant}/configs
GET    /configs/login
GET    /auths
GET    /basicAuthValidationErrors
GET    /setup
POST   /setup
POST   /{tenant}/basicAuth
POST   /invitation/create/{invitationId}
POST   /password-reset
POST   /password-reset/confirm
GET    /invitation/{invitationId}
POST   /{tenant}/executions/webhook/{namespace}/{id}/{key}
GET    /{tenant}/executions/webhook/{namespace}/{id}/{key}
PUT    /{tenant}/executions/webhook/{namespace}/{id}/{key}
POST   /{tenant}/executions/webhook/{namespace}/{id}/{key}/{path}
GET    /{tenant}/executions/webhook/{namespace}/{id}/{key}/{path}
PUT    /{tenant}/executions/webhook/{namespace}/{id}/{key}/{path}

[login]
*      /me/**
*      /plugins/**
GET    /pebble/**
GET    /license-info
GET    /banners/active
POST   /invitation/accept/{invitationId}
GET    /instance/maintenance/status

[tenant]
*      /{tenant}/blueprints/community/**
GET    /{tenant}/plugins/**

[superadmin]
*      /users/**
*      /service-accounts/**
*      /tenants/**
*      /auditlogs/**
*      /instance/**
*      /cluster/**
*      /clusters/**
*      /banners/**
*      /kill-switches/**
GET    /license/refresh
POST   /plugins/install
GET    /plugins/install/{jobId}
POST   /plugins/auto-install/detect
"""
