"""The `retry` property of tasks and flows: constant, exponential and random (page 471, RTY-01, RTY-02)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from flowtide.model.durations import Duration
from flowtide.model.plugin import Part

_Delay = Annotated[Duration, Field(ge=timedelta(0))]


class _Retry(Part):
    max_attempts: Annotated[
        int | None,
        Field(
            title="How many attempts, the first included",
            ge=1,
            validation_alias=AliasChoices("maxAttempts", "maxAttempt", "max_attempts"),
        ),
    ] = None  # counts every attempt, the first included (decision: trap 19 of catalogue B)
    max_duration: Annotated[Duration | None, Field(title="For how long at most, delays included")] = (
        None  # over all attempts and delays
    )
    warning_on_retry: Annotated[
        bool, Field(title="Whether the task ends with WARNING when it was tried again")
    ] = False  # the task run ends WARNING when it was retried
    behavior: Annotated[
        Literal["RETRY_FAILED_TASK", "CREATE_NEW_EXECUTION"],
        Field(title="Of a flow: whether the failed task runs again, or a new execution starts"),
    ] = "RETRY_FAILED_TASK"  # flows only (RTY-08)


class ConstantRetry(_Retry):
    """The same delay before each attempt."""

    type: Literal["constant"]
    interval: Annotated[_Delay, Field(title="From a failure to the next attempt")]

    def delay(self, failed_attempts: int, randomness: float) -> timedelta:
        """How long to wait after `failed_attempts` (at least 1) failures."""
        return self.interval


class ExponentialRetry(_Retry):
    """A delay that grows by a factor up to a limit."""

    type: Literal["exponential"]
    interval: Annotated[_Delay, Field(title="From the first failure to the second attempt")]
    max_interval: Annotated[_Delay, Field(title="The longest delay")]
    delay_factor: Annotated[
        float, Field(title="By how much each delay is longer than the one before", gt=0)
    ] = 2.0

    def delay(self, failed_attempts: int, randomness: float) -> timedelta:
        """How long to wait after `failed_attempts` (at least 1) failures."""
        seconds = self.interval.total_seconds()
        # Multiplied step by step, because a power overflows long before a person waits that many attempts.
        for _ in range(min(failed_attempts - 1, 1000)):
            seconds *= self.delay_factor
            if seconds >= self.max_interval.total_seconds():
                return self.max_interval
        return min(self.max_interval, timedelta(seconds=seconds))


class RandomRetry(_Retry):
    """A random delay between two bounds."""

    type: Literal["random"]
    min_interval: Annotated[_Delay, Field(title="The shortest delay")]
    max_interval: Annotated[_Delay, Field(title="The longest delay")]

    def delay(self, failed_attempts: int, randomness: float) -> timedelta:
        """How long to wait; `randomness` in [0, 1) chooses between the bounds."""
        return self.min_interval + (self.max_interval - self.min_interval) * randomness


Retry = Annotated[ConstantRetry | ExponentialRetry | RandomRetry, Field(discriminator="type")]
