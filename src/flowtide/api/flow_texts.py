"""What searches look for in saved flows: their descriptions and labels, read once for each revision.

In comes a saved flow, out go its words and labels.  State: those that were read, within a bound; a flow is parsed for
them when it is first looked for, so the first search among thousands lets others have their turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from flowtide.errors import FlowInvalid
from flowtide.log.keys import FlowKey
from flowtide.services.catalog import SavedFlow

_MOST_CHARACTERS: Final = 32_000_000
_AT_ONCE: Final = 20  # flows parsed before others have their turn
_Key = tuple[FlowKey, int, datetime]


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowText:
    """What is looked for in a flow."""

    words: str  # namespace/id and description, in small letters
    labels: Mapping[str, str]


class FlowTexts:
    """The texts of saved flows."""

    def __init__(self) -> None:
        self._read: OrderedDict[_Key, FlowText] = OrderedDict()
        self._characters = 0

    async def prepare(self, flows: Iterable[SavedFlow]) -> None:
        """Read what is not known yet, a few flows at a time."""
        unknown = 0
        for saved in flows:
            if _key(saved) not in self._read:
                self.of(saved)
                unknown += 1
                if unknown % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    def of(self, saved: SavedFlow) -> FlowText:
        """The text of a flow; of one that cannot be read only its key."""
        key = _key(saved)
        known = self._read.get(key)
        if known is not None:
            return known
        words = f"{saved.key.namespace}/{saved.key.flow_id}"
        try:
            flow = saved.flow
        except FlowInvalid:
            return FlowText(words=words.casefold(), labels={})  # it may be readable with the next plugin
        text = FlowText(
            words=f"{words} {flow.description or ''}".casefold(),
            labels={label.key: label.value for label in flow.labels},
        )
        self._read[key] = text
        self._characters += _size(text)
        while self._characters > _MOST_CHARACTERS:
            self._characters -= _size(self._read.popitem(last=False)[1])
        return text


FLOW_TEXTS: web.AppKey[FlowTexts] = web.AppKey("flow_texts", FlowTexts)


def _key(saved: SavedFlow) -> _Key:
    return saved.key, saved.revision, saved.updated


def _size(text: FlowText) -> int:
    return 400 + len(text.words) + sum(200 + len(key) + len(value) for key, value in text.labels.items())
