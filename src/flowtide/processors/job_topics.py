"""The topics of jobs: one for workers without a group, and one a worker group, made when it is first needed (WG-11).

In come the messages of a batch before it is committed; whoever first routes to a group, or works in it, makes
its topic.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowtide.log.port import Log, Message
from flowtide.log.topics import Topic, load_topics

_DEFAULT = "worker_jobs"
_PREFIX = f"{_DEFAULT}_"


def jobs_topic(worker_group: str | None) -> str:
    """The topic from which the workers of a group take jobs."""
    return _DEFAULT if worker_group is None else f"{_PREFIX}{worker_group}"


def topic_of_group(worker_group: str) -> Topic:
    """The topic of a worker group, made like that of the workers without one."""
    return _like_default(jobs_topic(worker_group))


class JobTopics:
    """Makes the topics of worker groups on a log, each once."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._made: set[str] = set()

    async def prepare(self, messages: Sequence[Message]) -> None:
        """Make the topics that the messages go to.  Raises LogUnavailable."""
        missing = {
            message.topic
            for message in messages
            if message.topic.startswith(_PREFIX) and message.topic not in self._made
        }
        if missing:
            await self._log.ensure_topics([_like_default(name) for name in sorted(missing)])
            self._made |= missing


def _like_default(name: str) -> Topic:
    return msgspec.structs.replace(load_topics()[_DEFAULT], name=name)
