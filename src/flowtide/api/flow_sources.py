"""The sources of flows as texts: searched, compared by their hashes, and asked for what is deprecated."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import regex
from aiohttp import web

from flowtide.api.access import may
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.flow_bulk import named_flows
from flowtide.api.flows import parse, wire
from flowtide.api.parameters import flag, page, sorting
from flowtide.api.problems import Problem
from flowtide.api.searches import flows_of, sort_flows
from flowtide.model.access import Action, Permission

_REGEX_SECONDS = 0.1
_MOST_FRAGMENTS = 20
_LONGEST_PATTERN = 1_000


async def search(request: web.Request) -> web.StreamResponse:
    """Find flows whose id or text has `q`, with the lines and the places; `caseSensitive`, `wholeWord` and `regex`."""
    wanted = page(request)
    text = request.query.get("q", "")
    namespace = request.query.get("namespace") or None
    pattern = _pattern(request, text)
    results = []
    try:
        for saved in flows_of(request, namespace, below=True):
            source = saved.source
            if (
                not text
                or pattern.search(source, timeout=_REGEX_SECONDS)
                or pattern.search(saved.key.flow_id, timeout=_REGEX_SECONDS)
            ):
                results.append(saved)
        sort_flows(results, sorting(request))
        shown = results[wanted.offset : wanted.offset + wanted.size]
        # What clients of 1.3 read, and what those of 2.0 do: neither minds the other.
        answer: list[dict[str, Any]] = [
            {
                "model": wire(saved, with_source=False),
                "fragments": list(_fragments(saved.source, pattern)) if text else [],
                "namespace": saved.key.namespace,
                "id": saved.key.flow_id,
                "editable": may(request, saved.key.namespace, Permission.FLOW, Action.UPDATE),
                "matches": list(_matches(saved.source, pattern)) if text else [],
            }
            for saved in shown
        ]
    except TimeoutError:
        raise Problem(400, "the regular expression takes too long") from None
    return page_answer(answer, len(results))


def _pattern(request: web.Request, text: str) -> regex.Pattern[str]:
    if len(text) > _LONGEST_PATTERN:
        raise Problem(400, f"`q` has at most {_LONGEST_PATTERN} characters")
    written = text if flag(request, "regex") else regex.escape(text)
    if flag(request, "wholeWord"):
        written = rf"\b(?:{written})\b"
    try:
        return regex.compile(written, 0 if flag(request, "caseSensitive") else regex.IGNORECASE)
    except regex.error as error:
        raise Problem(400, f"`q` is not a regular expression: {error}") from None


def _fragments(source: str, pattern: regex.Pattern[str]) -> Iterator[str]:
    found = 0
    for line in source.splitlines():
        marked, count = pattern.subn(
            lambda match: f"[mark]{match[0]}[/mark]" if match[0] else "", line, timeout=_REGEX_SECONDS
        )
        if count:
            yield marked
            found += 1
        if found == _MOST_FRAGMENTS:
            return


def _matches(source: str, pattern: regex.Pattern[str]) -> Iterator[dict[str, Any]]:
    found = 0
    for number, line in enumerate(source.splitlines(), 1):
        for match in pattern.finditer(line, timeout=_REGEX_SECONDS):
            yield {"line": number, "column": match.start() + 1, "snippet": line}
            found += 1
            if found == _MOST_FRAGMENTS:
                return


async def hashes_by_ids(request: web.Request) -> web.StreamResponse:
    """The SHA-256 of the sources of flows, by `namespace/id`."""
    return json_answer(
        {
            f"{saved.key.namespace}/{saved.key.flow_id}": sha256(saved.source.encode()).hexdigest()
            for saved in await named_flows(request)
        }
    )


async def deprecated(request: web.Request) -> web.StreamResponse:
    """The flows that use what is deprecated, with a sentence for each place."""
    namespace = request.query.get("namespace") or None
    answer = []
    for saved in list(flows_of(request, namespace, below=True)):
        parsed = await parse(request, saved.source)
        found = [each for each in parsed.warnings if "deprecated" in each or "is now called" in each]
        if found:
            answer.append(
                {
                    "namespace": saved.key.namespace,
                    "id": saved.key.flow_id,
                    "revision": saved.revision,
                    "deprecations": found,
                }
            )
    return json_answer(answer)
