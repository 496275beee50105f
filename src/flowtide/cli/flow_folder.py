"""Flows of a folder: YAML files in, flows saved on a server out (CLI-4, `--flow-path`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from flowtide.errors import FlowtideError, Violation
from flowtide.model.source import ParsedFlow
from flowtide.services.catalog import Catalog
from flowtide.services.saving import ResourceClient

SUFFIXES = frozenset({".yml", ".yaml"})

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowFile:
    """A file with a flow, and what reading it gave."""

    path: Path
    source: str
    parsed: ParsedFlow


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What became of the files of a folder."""

    saved: int = 0  # new, or other than what was there
    same: int = 0
    refused: int = 0


def flow_files(path: Path) -> Iterator[Path]:
    """The file itself, or the YAML files of a folder and those below it, sorted; hidden ones are passed over."""
    if path.is_file():
        yield path
        return
    for found in sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in found.relative_to(path).parts)
        if found.suffix.lower() in SUFFIXES and found.is_file() and not hidden:
            yield found


def source_of(path: Path) -> str:
    """The source of a flow file with what it includes.  Raises IncludeFailed, OSError."""
    from flowtide.cli.includes import IncludeFailed, expanded

    try:
        return expanded(path)
    except UnicodeDecodeError:
        raise IncludeFailed(f"{path} is not written in UTF-8") from None


def read_flow_file(path: Path, read: Callable[[str], ParsedFlow], *, expand: bool = False) -> FlowFile:
    """Read one file; with `expand` what it includes is put in its place.

    A file that is not UTF-8 has that as its violation.  Raises IncludeFailed, OSError when it cannot be read.
    """
    content = path.read_bytes()
    try:
        source = content.decode("utf-8")
        if expand:
            source = source_of(path)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        violation = Violation(path="", message="the file is not written in UTF-8", line=line, column=1)
        parsed = ParsedFlow(flow=None, document={}, violations=[violation], warnings=[])
        return FlowFile(path=path, source="", parsed=parsed)
    return FlowFile(path=path, source=source, parsed=read(source))


def violation_line(path: Path, violation: Violation) -> str:
    """`path:line:column: property: message`, as editors and compilers write it."""
    place = f"{path}:{violation.line}:{violation.column}:" if violation.line else f"{path}:"
    subject = f" {violation.path}:" if violation.path else ""
    return f"{place}{subject} {violation.message}"


async def load_flows(
    folder: Path,
    *,
    tenant: str,
    read: Callable[[str], ParsedFlow],
    catalog: Catalog,
    client: ResourceClient,
) -> Loaded:
    """Save every flow of a folder whose source is not what is saved already.

    A file that is not valid is told in the log and passed over, so that one of them does not keep a server
    from starting.  Raises OSError, LogUnavailable, ReplyMissing.
    """
    files = await asyncio.to_thread(lambda: [read_flow_file(path, read) for path in flow_files(folder)])
    same = refused = 0
    saves = []
    for file in files:
        for warning in file.parsed.warnings:
            logger.warning("a flow is not as it should be", file=str(file.path), warning=warning)
        flow = file.parsed.flow
        if flow is None:
            refused += 1
            for violation in file.parsed.violations:
                logger.error("a flow was not loaded", problem=violation_line(file.path, violation))
            continue
        known = catalog.flow(tenant, flow.namespace, flow.id)
        if known is not None and not known.deleted and known.source == file.source:
            same += 1
            continue
        saves.append((file.path, client.save_flow(tenant, flow.namespace, flow.id, file.source)))
    results = await asyncio.gather(*(save for _, save in saves), return_exceptions=True)
    for (path, _), result in zip(saves, results, strict=True):
        if isinstance(result, BaseException):
            if isinstance(result, FlowtideError):
                raise FlowtideError(f"{path} could not be saved: {result.message}") from result
            raise result
    return Loaded(saved=len(saves), same=same, refused=refused)
