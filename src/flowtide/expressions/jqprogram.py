"""Runs jq programs on values: short ones here, those that could run for ever in a process of their own.

libjq cannot be interrupted, so a program that may repeat without end gets a process with limits on time and
memory. Programs that would see the environment, files or more input are refused.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import lru_cache
from typing import Any, Final

from flowtide.expressions.faults import Fault, TooSlow
from flowtide.expressions.printing import to_json
from flowtide.expressions.runtime import Run

_MAX_PROGRAM: Final = 10_000
_MEMORY_BYTES: Final = 1 << 30
_FORBIDDEN = re.compile(
    r"(?<![\w.$])(env|input|inputs|debug|stderr|input_filename|input_line_number|import|include|modulemeta|"
    r"get_search_list|halt|halt_error|now|localtime)\b(?!\s*:)|\$ENV\b|\$__prog_args\b|\$__loc__\b"
)
_SIMPLE_REDUCE = re.compile(r"\breduce\b[^;()]*\(\s*[\w.]+\s*;\s*\.\s*[-+]\s*\$\w+\s*\)")
_UNBOUNDED = re.compile(
    r"(?<![\w.$])(def|range|repeat|recurse|until|while|limit|foreach|reduce|test|match|capture|scan|split|splits|"
    r"sub|gsub|combinations|walk|getpath|paths|tostream|fromstream|truncate_stream|implode|label|ltrimstr|"
    r"setpath|path|pow|exp10|ascii|todate|strftime|strptime|gmtime|indices)\b"
)
_STRING = re.compile(r'"(?:[^"\\]|\\[^(])*"')
_FACTOR = re.compile(r"\*\s*\d{1,2}(?![\d.eE])")
_CHILD: Final = """
import json, resource, sys
memory, seconds = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
import jq
program, data, limit = json.load(sys.stdin)
size, first = 0, True
sys.stdout.write("[")
try:
    for value in jq.compile(program).input_text(data):
        text = json.dumps(value)
        size += len(text) + 1
        if size > limit:
            sys.exit(4)
        sys.stdout.write(("" if first else ",") + text)
        first = False
except ValueError as error:
    sys.stderr.write(str(error))
    sys.exit(3)
sys.stdout.write("]")
"""


def run_jq(run: Run, program: str, value: Any) -> list[Any]:
    """All results of a program; raises Fault."""
    if len(program) > _MAX_PROGRAM:
        raise Fault(f"the jq program is longer than {_MAX_PROGRAM} characters")
    bare = _STRING.sub('""', program)
    forbidden = _FORBIDDEN.search(bare)
    if forbidden:
        raise Fault(f"the jq program may not use `{forbidden.group().strip()}` here")
    data = to_json(value)
    run.reserve(len(data))
    if _is_bounded(bare):
        return _here(run, program, data)
    return _apart(run, program, data)


def _is_bounded(bare: str) -> bool:
    """Whether a program takes time and memory in proportion to its input."""
    rest = _SIMPLE_REDUCE.sub("", bare)
    if _UNBOUNDED.search(rest) or "\\(" in rest:
        return False
    factors = _FACTOR.findall(rest)
    if rest.count("*") > len(factors) or len(factors) > 1:
        return False
    # Every generator multiplies the results of the one before it.
    return (
        rest.count("[]") + rest.count("..") + rest.count(",") <= 8
        and rest.count("..") <= 1
        and rest.count("[]") <= 4
    )


@lru_cache(maxsize=256)
def _compiled(program: str) -> Any:
    import jq

    return jq.compile(program)


def _here(run: Run, program: str, data: str) -> list[Any]:
    results: list[Any] = []
    limit = run.scope.limits.elements
    try:
        for result in _compiled(program).input_text(data):
            run.tick()
            results.append(result)
            if len(results) > limit:
                raise Fault(f"the jq program has more than {limit} results")
    except ValueError as error:
        raise Fault(_message(str(error))) from None
    return results


def _apart(run: Run, program: str, data: str) -> list[Any]:
    seconds = run.remaining()
    limits = (str(_MEMORY_BYTES), str(int(seconds) + 1))
    try:
        done = subprocess.run(  # noqa: S603 - our own program, in an empty environment
            [sys.executable, "-c", _CHILD, *limits],
            input=json.dumps([program, data, run.scope.limits.output_characters]),
            capture_output=True,
            text=True,
            timeout=seconds,
            env={"PYTHONPATH": ":".join(entry for entry in sys.path if entry)},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TooSlow(f"the jq program took longer than {seconds:.3g} s") from None
    if done.returncode == 0:
        results: list[Any] = json.loads(done.stdout)
        return results
    if done.returncode == 3:
        raise Fault(_message(done.stderr))
    raise Fault("the jq program needs too much time, memory or output")


def _message(text: str) -> str:
    """jq's message without the values that it quotes."""
    first = text.strip().splitlines()[0] if text.strip() else "failed"
    return "jq: " + re.sub(r"\(.*\)", "(...)", first)[:200]
