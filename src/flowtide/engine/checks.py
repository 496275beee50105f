"""The checks of a flow, for executions that no web server checked: started by schedules and by other flows (CHK-01).

In come the checks and the variables; out goes the message of the gravest one that does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flowtide.engine.plan import needs_io
from flowtide.errors import ExpressionError
from flowtide.expressions import truthy
from flowtide.model.flow import Check

_STOPPING = ("BLOCK_EXECUTION", "FAIL_EXECUTION")  # in the order of their gravity (CHK-03)


def failed_check(checks: Sequence[Check], render: Callable[[Any], Any]) -> str | None:
    """Why the execution may not run; None when it may.

    Whoever starts it this way waits for an execution, so a check that blocks fails it instead.  Raises
    ExpressionError for a condition that cannot be told, also for one that needs input or output.
    """
    failed = []
    for check in checks:
        if needs_io(check.condition):
            raise ExpressionError(
                f"the check `{check.message}` reads data from outside, which only works for executions that are "
                "started over the API"
            )
        if not truthy(render(check.condition)):
            failed.append(check)
    for behavior in _STOPPING:
        for check in failed:
            if check.behavior == behavior:
                return check.message
    return None
