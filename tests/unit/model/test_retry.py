"""Retry policies: their delays and their YAML."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from flowtide.model.retry import Retry

ADAPTER: TypeAdapter[Retry] = TypeAdapter(Retry)


def delays(yaml: dict[str, Any], randomness: float = 0.5) -> list[float]:
    """The first four delays in seconds."""
    policy = ADAPTER.validate_python(yaml)
    return [policy.delay(failed, randomness).total_seconds() for failed in (1, 2, 3, 4)]


def test_constant_delays_are_equal() -> None:
    """constant waits its interval each time (RTY-02)."""
    assert delays({"type": "constant", "interval": "PT5S", "maxAttempt": 3}) == [5, 5, 5, 5]


def test_exponential_delays_grow_to_their_limit() -> None:
    """exponential doubles up to maxInterval (RTY-02)."""
    assert delays({"type": "exponential", "interval": "PT30S", "maxInterval": "PT2M"}) == [30, 60, 120, 120]


def test_exponential_delays_do_not_overflow() -> None:
    """A thousand failures give the longest interval."""
    policy = ADAPTER.validate_python(
        {"type": "exponential", "interval": "PT1S", "maxInterval": "P1D", "delayFactor": 1e10}
    )
    assert policy.delay(1000, 0.0) == timedelta(days=1)


def test_random_delays_lie_between_their_bounds() -> None:
    """random takes the randomness that it is handed (RTY-02)."""
    assert delays({"type": "random", "minInterval": "PT1S", "maxInterval": "PT3S"}, 0.25) == [
        1.5,
        1.5,
        1.5,
        1.5,
    ]


@pytest.mark.parametrize(
    "yaml",
    [
        {"type": "constant"},
        {"type": "linear", "interval": "PT1S"},
        {"type": "constant", "interval": "P1W"},
        {"type": "constant", "interval": "PT1S", "maxAttempts": 0},
        {"type": "constant", "interval": "PT1S", "unknown": 1},
    ],
)
def test_wrong_policies_are_refused(yaml: dict[str, Any]) -> None:
    """A policy needs its own properties, valid durations and at least one attempt."""
    with pytest.raises(ValidationError):
        ADAPTER.validate_python(yaml)
