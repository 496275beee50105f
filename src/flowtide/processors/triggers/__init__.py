"""The *triggers* processor (key: trigger): schedules, backfills, polling and realtime triggers (pages 481 to 485, 057).

`partition` takes commands and time in and keeps the state; `dates` decides about schedules and backfills, `jobs` about
what workers evaluate and listen to, `verbs` about what people ask; `plans` reads definitions, `pieces` is the state.
"""

from flowtide.processors.triggers.partition import (
    COMMANDS,
    DEFAULT_MESSAGE_LIMIT_BYTES,
    EVENTS,
    GROUP,
    STATE,
    Evaluations,
    TriggersPartition,
)
from flowtide.processors.triggers.plans import execution_id_of

__all__ = [
    "COMMANDS",
    "DEFAULT_MESSAGE_LIMIT_BYTES",
    "EVENTS",
    "GROUP",
    "STATE",
    "Evaluations",
    "TriggersPartition",
    "execution_id_of",
]
