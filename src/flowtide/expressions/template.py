"""Templates as callers see them: compiled once, cached by source, rendered to text or to a value.

State: the cache of compiled templates of this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final

from flowtide.errors import ExpressionError
from flowtide.expressions import compiler, nodes
from flowtide.expressions.faults import Fault, located
from flowtide.expressions.parser import parse
from flowtide.expressions.printing import kind
from flowtide.expressions.references import NO_REFERENCES, Path, References, analyse
from flowtide.expressions.runtime import Run
from flowtide.expressions.scope import Scope

DEFAULT_CACHE_SIZE: Final = 1000
_MAX_VALUE_DEPTH: Final = 100
_MAX_CACHED_CHARACTERS: Final = 200_000  # longer ones would make a full cache take gigabytes


class Template:
    """A compiled template; immutable and shared.

    `references` are the paths it reads, `functions` the functions it calls, `is_constant` says that it
    holds nothing but text.
    """

    __slots__ = ("_body", "_render", "_typed", "_values", "is_constant", "needs", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        try:
            self._body = parse(source)
            self.is_constant = all(isinstance(part, nodes.Text | nodes.Raw) for part in self._body)
            self.needs: References = analyse(self._body)
            self._render: compiler.Compiled = compiler.compile_body(self._body, typed=False)
        except Fault as fault:
            raise located(fault, source) from None
        except RecursionError:
            raise located(Fault("the template is nested too deeply", 0), source) from None
        self._values: compiler.Compiled | None = None

    def __repr__(self) -> str:
        return f"Template({self.source[:60]!r})"

    @property
    def references(self) -> frozenset[Path]:
        """The paths of variables that it may read; see `needs` for whether they are all."""
        return self.needs.paths

    @property
    def functions(self) -> frozenset[str]:
        """The names of the functions that it calls."""
        return self.needs.functions

    def render(self, scope: Scope) -> str:
        """The text (C R06); raises ExpressionError."""
        if scope.recursive:
            return self._passes(scope, Run(scope))
        try:
            text: str = self._render(scope, Run(scope))
        except Fault as fault:
            raise located(fault, self.source) from fault.__cause__
        except (RecursionError, MemoryError):
            raise located(Fault("the template needs too much memory or depth"), self.source) from None
        if len(text) > scope.limits.output_characters:
            raise located(
                Fault(f"the rendered text is longer than {scope.limits.output_characters} characters"),
                self.source,
            )
        return text

    def evaluate(self, scope: Scope) -> Any:
        """The value itself when the template is one expression, else its text (C R07).

        Space around a single expression that yields no text is ignored. Raises ExpressionError, also when
        text and other values are mixed.
        """
        run = Run(scope)
        try:
            if self._values is None:
                self._values = compiler.compile_body(self._body, typed=True)
            values: list[Any] = self._values(scope, run)
            result = _joined(values, run)
            if scope.recursive and isinstance(result, str) and "{" in result:
                return render_passes(result, scope, run)
            return result
        except Fault as fault:
            raise located(fault, self.source) from fault.__cause__
        except (RecursionError, MemoryError):
            raise located(Fault("the template needs too much memory or depth"), self.source) from None

    def render_once(self, scope: Scope, run: Run) -> str:
        """One pass inside a rendering that is under way; raises ExpressionError."""
        try:
            text: str = self._render(scope, run)
            return text
        except Fault as fault:
            raise located(fault, self.source) from fault.__cause__

    def _passes(self, scope: Scope, run: Run) -> str:
        try:
            return render_passes(self.source, scope, run)
        except Fault as fault:
            raise located(fault, self.source) from fault.__cause__
        except (RecursionError, MemoryError):
            raise located(Fault("the template needs too much memory or depth"), self.source) from None


def render_passes(source: str, scope: Scope, run: Run, *, recursive: bool = True) -> str:
    """Renders text, and its result again until it stays the same (C R03); raw blocks survive every pass."""
    outermost = run.raws is None
    if outermost and recursive:
        run.raws = []
    frames, run.frames = run.frames, []
    run.nesting += 1
    try:
        compiler.check_nesting(run)
        text = source
        for _ in range(scope.limits.passes):
            if "{" not in text:
                break
            run.check_time()
            previous, text = text, compile_template(text).render_once(scope, run)
            run.charge(text)
            if not recursive or text == previous:
                break
        else:
            raise Fault("Too many rendering attempts")
        return run.restore_raws(text) if outermost and recursive else text
    finally:
        run.frames = frames
        run.nesting -= 1
        if outermost:
            run.raws = None


def _joined(values: list[Any], run: Run) -> Any:
    """The value of a typed rendering from the values that the template wrote."""
    if len(values) == 1:
        return values[0]
    objects = [value for value in values if not isinstance(value, str)]
    if not objects:
        text = "".join(values)
        run.charge(text)
        return text
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    if len(objects) == 1 and not texts:
        return objects[0]
    added, base = (objects[1], objects[0]) if not texts else (objects[0], texts[0])
    raise Fault(
        f"Tried to add a {kind(added)} to a {kind(base)}; a typed value must be a single expression", 0
    )


class _Cache:
    """Compiled templates by source, least recently used thrown out first."""

    def __init__(self, size: int) -> None:
        self.resize(size)

    def resize(self, size: int) -> None:
        self.get = lru_cache(maxsize=max(0, size))(Template)


_CACHE: Final = _Cache(DEFAULT_CACHE_SIZE)


def compile_template(source: str) -> Template:
    """The compiled template of a source, from the cache where it is; raises ExpressionSyntaxError."""
    if len(source) > _MAX_CACHED_CHARACTERS:
        return Template(source)
    return _CACHE.get(source)


def set_cache_size(size: int) -> None:
    """How many compiled templates this process keeps (`kestra.variables.cache-size`); 0 switches it off."""
    _CACHE.resize(size)


def render_value(value: Any, scope: Scope, *, typed: bool = False) -> Any:
    """Renders every string in a nested value, keys of maps too, order kept (C R08).

    With `typed` a string that is one expression becomes its value. Raises ExpressionError.
    """
    return _render_nested(value, scope, typed, 0)


def _render_nested(value: Any, scope: Scope, typed: bool, depth: int) -> Any:
    if isinstance(value, str):
        if "{" not in value:
            return value
        template = compile_template(value)
        return template.evaluate(scope) if typed else template.render(scope)
    if depth > _MAX_VALUE_DEPTH:
        raise ExpressionError(f"the value is nested more than {_MAX_VALUE_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            _render_nested(key, scope, False, depth + 1): _render_nested(item, scope, typed, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        return [_render_nested(item, scope, typed, depth + 1) for item in value]
    return value


def references_of(value: Any) -> References:
    """What all templates in a nested value need together; raises ExpressionSyntaxError."""
    return _references_nested(value, 0)


def _references_nested(value: Any, depth: int) -> References:
    if isinstance(value, str):
        return compile_template(value).needs if "{" in value else NO_REFERENCES
    if depth > _MAX_VALUE_DEPTH:
        raise ExpressionError(f"the value is nested more than {_MAX_VALUE_DEPTH} levels deep")
    found = NO_REFERENCES
    if isinstance(value, Mapping):
        for key, item in value.items():
            found = found | _references_nested(key, depth + 1) | _references_nested(item, depth + 1)
    elif isinstance(value, Sequence | AbstractSet) and not isinstance(value, bytes | bytearray | memoryview):
        for item in value:
            found = found | _references_nested(item, depth + 1)
    return found
