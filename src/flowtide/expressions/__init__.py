"""The template language: text with `{{ }}` and `{% %}` in, text or values out; compiled once and sandboxed.

Nothing here does I/O: functions that need it come in through a Scope.
"""

from flowtide.expressions.iontext import parse_ion
from flowtide.expressions.names import IO_FUNCTIONS, UNREPEATABLE_FUNCTIONS
from flowtide.expressions.predicates import truthy
from flowtide.expressions.references import Path, Ref, References
from flowtide.expressions.scope import Limits, Scope
from flowtide.expressions.template import (
    Template,
    compile_template,
    references_of,
    render_value,
    set_cache_size,
)

__all__ = [
    "IO_FUNCTIONS",
    "UNREPEATABLE_FUNCTIONS",
    "Limits",
    "Path",
    "Ref",
    "References",
    "Scope",
    "Template",
    "compile_template",
    "parse_ion",
    "references_of",
    "render_value",
    "set_cache_size",
    "truthy",
]
