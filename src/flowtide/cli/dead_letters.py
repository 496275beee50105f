"""`flowtide dead-letters ...`: records that could not be handled, shown, or put on their topic again."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from flowtide.cli.options import Invocation, common_options

if TYPE_CHECKING:
    from flowtide.log.port import Log
    from flowtide.model.dead_letters import DeadLetter
    from flowtide.settings import Settings

TOPIC = "dead_letters"
_POLL = timedelta(milliseconds=250)
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, kw_only=True)
class Found:
    """A dead letter and where it lies: `id` is `partition/offset` on the topic of dead letters."""

    id: str
    letter: DeadLetter

    @property
    def value(self) -> bytes:
        """The record's value as it came."""
        return b64decode(self.letter.value)


@click.group(name="dead-letters")
def dead_letters() -> None:
    """Records that could not be handled, with the reason."""


def _selection(command: Any) -> Any:
    for option in (
        click.option(
            "--group", help="Only those that this consumer group put aside (executor, indexer, ...)."
        ),
        click.option("--topic", help="Only those of this topic."),
    ):
        command = option(command)
    return command


@dead_letters.command(name="list")
@_selection
@click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The form."
)
@common_options
def list_(invocation: Invocation, topic: str | None, group: str | None, output: str) -> None:
    """Write the dead letters, the oldest first. On the embedded log the server must not run meanwhile."""
    settings = _settings(invocation)
    found = asyncio.run(_list(settings, _wanted(topic, group)))
    if output == "json":
        rows = [
            {
                "id": each.id,
                "at": each.letter.at.isoformat(),
                "topic": each.letter.topic,
                "key": each.letter.key,
                "group": each.letter.group,
                "reason": each.letter.reason,
                "value": each.value.decode(errors="replace"),
            }
            for each in found
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for each in found:
        letter = each.letter
        click.echo(f"{each.id}  {letter.at.isoformat()}  {letter.topic}  {letter.key}  ({letter.group})")
        click.echo(f"    {letter.reason}")
        click.echo(f"    {each.value.decode(errors='replace')[:_SHOWN_CHARACTERS]}")
    click.echo("1 dead letter" if len(found) == 1 else f"{len(found)} dead letters", err=True)


@dead_letters.command()
@_selection
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.argument("ids", nargs=-1)
@common_options
def replay(
    invocation: Invocation, topic: str | None, group: str | None, everything: bool, ids: tuple[str, ...]
) -> None:
    """Put records on their topics again, as they came: those with these IDS (partition/offset), or --all.

    A letter stays where it is, so replay it once what was wrong with it has been mended.
    """
    if everything == bool(ids):
        raise click.UsageError("name the letters (see `flowtide dead-letters list`), or give --all")
    settings = _settings(invocation)
    chosen = _wanted(topic, group)
    replayed = asyncio.run(_replay(settings, lambda found: chosen(found) and (everything or found.id in ids)))
    missing = [] if everything else sorted(set(ids) - {each.id for each in replayed})
    click.echo("1 record replayed" if len(replayed) == 1 else f"{len(replayed)} records replayed")
    if missing:
        raise click.ClickException(f"there is no dead letter {', '.join(missing)}")


def _settings(invocation: Invocation) -> Settings:
    settings = invocation.settings()
    invocation.configure_logging(settings, default="WARN")
    return settings


def _wanted(topic: str | None, group: str | None) -> Callable[[Found], bool]:
    def wanted(found: Found) -> bool:
        letter = found.letter
        return (topic is None or letter.topic == topic) and (group is None or letter.group == group)

    return wanted


async def _list(settings: Settings, wanted: Callable[[Found], bool]) -> list[Found]:
    async with _open(settings) as log:
        return await find(log, wanted)


async def _replay(settings: Settings, wanted: Callable[[Found], bool]) -> list[Found]:
    async with _open(settings) as log:
        found = await find(log, wanted)
        await put_back(log, found)
        return found


async def find(log: Log, wanted: Callable[[Found], bool]) -> list[Found]:
    """The dead letters that are wanted, the oldest first.  Raises LogUnavailable."""
    import msgspec

    from flowtide.model.dead_letters import DEAD_LETTER_DECODER

    reader = await log.reader(TOPIC, "beginning")
    found = []
    try:
        while not await reader.at_end():
            for record in await reader.poll(maximum=1_000, timeout=_POLL):
                try:
                    letter = DEAD_LETTER_DECODER.decode(record.value or b"")
                except msgspec.DecodeError:
                    continue  # somebody else wrote here; it cannot be put back
                each = Found(id=f"{record.partition}/{record.offset}", letter=letter)
                if wanted(each):
                    found.append(each)
    finally:
        await reader.close()
    return sorted(found, key=lambda each: each.letter.at)


async def put_back(log: Log, found: list[Found]) -> None:
    """Append the records to their topics again, into the partitions that they came from.  Raises LogError."""
    from flowtide.log.port import Message

    messages = [
        Message(
            topic=each.letter.topic, key=each.letter.key, value=each.value, partition=each.letter.partition
        )
        for each in found
    ]
    if messages:
        await log.append(messages)


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Log]:
    from flowtide.log.topics import load_topics
    from flowtide.services.ports import open_log

    log = open_log(settings)
    await log.start()
    try:
        await log.ensure_topics(list(load_topics().values()))
        yield log
    finally:
        await log.close()
