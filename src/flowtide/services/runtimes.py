"""Wires the processors of saved things, slots and schedules to the runtime; each server that has one
calls its function.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from flowtide.log.keys import FlowKey
from flowtide.log.port import Log
from flowtide.model.inputs import Render
from flowtide.model.plugin import Registry
from flowtide.processors import flows, resources, triggers
from flowtide.processors.flows import FlowsPartition
from flowtide.processors.job_topics import JobTopics
from flowtide.processors.resources import Parse, ResourcesPartition
from flowtide.processors.runtime import Hooks, Runtime
from flowtide.processors.schedule import Recover
from flowtide.processors.triggers import DEFAULT_MESSAGE_LIMIT_BYTES, Evaluations, TriggersPartition
from flowtide.processors.triggers.partition import DefaultGroup
from flowtide.services.catalog import Catalog
from flowtide.services.listeners import listening_flow

Clock = Callable[[], datetime]


def resources_runtime(
    log: Log, *, instance: str, clock: Clock, parse: Parse, hooks: Hooks | None = None
) -> Runtime:
    """The processor of all that is saved; `parse` reads a flow's source, and gives None or raises
    FlowInvalid.
    """
    replies = log.partitions(resources.REPLIES)
    return Runtime(
        log,
        group=resources.GROUP,
        topic=resources.COMMANDS,
        state_topic=resources.STATE,
        instance=instance,
        open_partition=lambda number, state: ResourcesPartition(
            number, state, parse=parse, reply_partitions=replies
        ),
        clock=clock,
        hooks=hooks,
    )


def flows_runtime(
    log: Log,
    *,
    instance: str,
    clock: Clock,
    catalog: Catalog,
    render: Render | None = None,
    render_inputs: Render | None = None,
    hooks: Hooks | None = None,
    on_popped: Callable[[FlowKey], None] | None = None,
) -> Runtime:
    """The processor of concurrency slots and Flow triggers, of the latest revisions in the catalog.

    `render` and `render_inputs` are for templates of Flow triggers (None: templates stay as they are).
    """
    return Runtime(
        log,
        group=flows.GROUP,
        topic=flows.COMMANDS,
        state_topic=flows.STATE,
        instance=instance,
        open_partition=lambda number, state: FlowsPartition(
            number,
            state,
            lookup=catalog.limit,
            flows=partial(listening_flow, catalog),
            render=render,
            render_inputs=render_inputs,
            on_popped=on_popped,
        ),
        clock=clock,
        catch_up=catalog.catch_up,
        hooks=hooks,
    )


def triggers_runtime(
    log: Log,
    *,
    instance: str,
    clock: Clock,
    registry: Registry,
    render: Render,
    recover: Recover = Recover.ALL,
    message_limit_bytes: int = DEFAULT_MESSAGE_LIMIT_BYTES,
    evaluations: Evaluations | None = None,
    render_inputs: Render | None = None,
    hooks: Hooks | None = None,
    default_group: DefaultGroup = lambda tenant, namespace: None,
) -> Runtime:
    """The processor of triggers; `recover` is the configured `recoverMissedSchedules` (SCH-07).

    `default_group` gives the worker group of the polling triggers of a tenant's namespace that name none.
    """
    dead_workers: set[str] = set()
    return Runtime(
        log,
        group=triggers.GROUP,
        topic=triggers.COMMANDS,
        state_topic=triggers.STATE,
        instance=instance,
        open_partition=lambda number, state: TriggersPartition(
            number,
            state,
            registry=registry,
            render=render,
            recover=recover,
            message_limit_bytes=message_limit_bytes,
            evaluations=evaluations,
            render_inputs=render_inputs,
            job_partitions=log.partitions("worker_jobs"),
            reply_partitions=log.partitions(resources.REPLIES),
            dead_workers=dead_workers,
            default_group=default_group,
        ),
        clock=clock,
        hooks=hooks,
        before_commit=JobTopics(log).prepare,
    )
