"""What the *executions* processor sends: the engine's outgoing things in, records with their topics and keys out."""

from __future__ import annotations

from zlib import crc32

from flowtide.engine.outgoing import ToEveryWorker, ToExecution, ToFlow, ToLog, ToTrigger, ToWorkers
from flowtide.log.keys import ExecutionKey, FlowKey, TriggerKey
from flowtide.log.port import Message
from flowtide.model.records import ENCODER
from flowtide.processors.job_topics import jobs_topic


def message_of(
    tenant: str, execution_id: str, outgoing: object, job_partitions: int | None = None
) -> Message:
    """Give something that is sent its topic and its key."""
    own = f"{tenant}/{execution_id}"
    match outgoing:
        case ToWorkers(job, group):
            # Spread over partitions by task run, so that the iterations of one loop run on all workers.  No other
            # program needs to find the partition of a job, so a cheap hash will do.
            partition = None
            if job_partitions is not None and group is None:
                partition = crc32(job.run_id.encode()) % job_partitions
            return Message(
                topic=jobs_topic(group),
                key=f"{own}/{job.run_id}",
                value=ENCODER.encode(job),
                partition=partition,
            )
        case ToExecution(to, command):
            return Message(
                topic="execution_commands", key=str(ExecutionKey(tenant, to)), value=ENCODER.encode(command)
            )
        case ToLog(entry):
            return Message(topic="logs", key=own, value=ENCODER.encode(entry))
        case ToEveryWorker(control):
            return Message(topic="worker_controls", key=own, value=ENCODER.encode(control))
        case ToFlow(namespace, flow_id, flow_command):
            flow = FlowKey(tenant, namespace, flow_id)
            return Message(topic="flow_commands", key=str(flow), value=ENCODER.encode(flow_command))
        case ToTrigger(namespace, flow_id, trigger_id, trigger_command):
            trigger = TriggerKey(tenant, namespace, flow_id, trigger_id)
            return Message(topic="trigger_commands", key=str(trigger), value=ENCODER.encode(trigger_command))
    raise AssertionError(f"{outgoing!r} has no topic")
