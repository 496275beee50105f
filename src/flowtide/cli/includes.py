"""Files that a flow includes by `[[> path]]`: a file in, its source with all of them in place out (page 450).

Only the command line knows them; a server gets the expanded source.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from flowtide.errors import FlowtideError

_INCLUDE = re.compile(r"(?P<escape>\\?)\[\[>\s*(?P<file>[^\]\n]+?)\s*\]\]")
_WHOLE_SCALAR = re.compile(
    r"(?P<before>.*?[:\-]\s+)(?P<quote>[\"']?)\[\[>\s*(?P<file>[^\]\n]+?)\s*\]\](?P=quote)\s*"
)
_DEEPEST = 20


class IncludeFailed(FlowtideError):
    """A file that a flow includes cannot be put in its place."""

    code = "include-failed"


def expanded(path: Path) -> str:
    """The source of a flow file with what it includes.

    A marker alone on a line takes the lines of the file, each with the marker's indentation; one that is a whole
    value becomes a quoted text when the file has several lines; elsewhere the file must have one line.
    `\\[[` stands for `[[`.  Raises IncludeFailed, OSError, UnicodeDecodeError.
    """
    text = path.read_text(encoding="utf-8")
    return _expanded(text, path, ()) if "[[" in text else text


def _expanded(text: str, path: Path, within: tuple[Path, ...]) -> str:
    if len(within) > _DEEPEST or path.resolve() in within:
        raise IncludeFailed(f"{path}: it includes itself, by way of {', '.join(map(str, within))}")
    lines = [_line(line, path, (*within, path.resolve())) for line in text.split("\n")]
    return "\n".join(lines)


def _line(line: str, path: Path, within: tuple[Path, ...]) -> str:
    if "[[" not in line:
        return line
    alone = _INCLUDE.fullmatch(line.strip())
    if alone is not None and not alone["escape"]:
        indent = line[: len(line) - len(line.lstrip())]
        included = _content(alone["file"], path, within)
        return "\n".join(indent + each if each else each for each in included.split("\n"))
    whole = _WHOLE_SCALAR.fullmatch(line)
    if whole is not None:
        included = _content(whole["file"], path, within)
        if "\n" in included or whole["quote"]:
            return whole["before"] + json.dumps(included, ensure_ascii=False)
        return whole["before"] + included

    def put(found: re.Match[str]) -> str:
        if found["escape"]:
            return found[0]
        included = _content(found["file"], path, within)
        if "\n" in included:
            raise IncludeFailed(
                f"{path}: {found['file']} has several lines and is included within a line; put [[> {found['file']}]] "
                "on a line of its own, below `|`"
            )
        return included

    return _INCLUDE.sub(put, line).replace("\\[[", "[[")


def _content(name: str, path: Path, within: tuple[Path, ...]) -> str:
    file = path.parent / name  # an absolute name replaces the folder
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise IncludeFailed(f"{path} includes {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise IncludeFailed(f"{path} includes {file}, which is not written in UTF-8") from None
    return _expanded(text.rstrip("\n"), file, within)
