"""The tree that the parser builds and the compiler and the reference analysis read; immutable values.

`position` is an offset into the template's source, from which errors compute line and column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Node:
    """Anything in a template."""

    position: int


class Expression(Node):
    """A node that has a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A string, number, boolean or null as written."""

    value: Any


@dataclass(frozen=True, slots=True)
class Interpolation(Expression):
    """A double-quoted string with `#{expression}` parts."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class ListLiteral(Expression):
    """`[a, b]`."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class MapLiteral(Expression):
    """`{key: value}`; keys are expressions too."""

    entries: tuple[tuple[Expression, Expression], ...]


@dataclass(frozen=True, slots=True)
class Name(Expression):
    """A variable: local where a tag defined it, else a root variable of the scope."""

    name: str


@dataclass(frozen=True, slots=True)
class Attribute(Expression):
    """`target.name` (a literal index) or `target[index]`."""

    target: Expression
    index: Expression
    bracketed: bool


@dataclass(frozen=True, slots=True)
class Arguments(Node):
    """The arguments of a call, in the order written."""

    positional: tuple[Expression, ...] = ()
    named: tuple[tuple[str, Expression], ...] = ()


@dataclass(frozen=True, slots=True)
class MethodCall(Expression):
    """`target.name(arguments)`, refused unless the name is one of the few allowed."""

    target: Expression
    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`name(arguments)`: a function or a macro."""

    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Filter(Expression):
    """`target | name(arguments)`."""

    target: Expression
    name: str
    arguments: Arguments


@dataclass(frozen=True, slots=True)
class Test(Expression):
    """`target is name` and `target is not name`."""

    target: Expression
    name: str
    arguments: Arguments
    negated: bool


@dataclass(frozen=True, slots=True)
class Unary(Expression):
    """`not x`, `-x`, `+x`."""

    operator: str
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary(Expression):
    """Two operands and an operator that evaluates both."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Chain(Expression):
    """A run of one operator that may stop early or joins all: `and`, `or`, `??`, `~`."""

    operator: str
    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class UndefinedCoalesce(Expression):
    """`left ??? right`: the right side only where the left is undefined."""

    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Ternary(Expression):
    """`condition ? yes : no`."""

    condition: Expression
    yes: Expression
    no: Expression


class Statement(Node):
    """A node that writes output or changes locals."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Text(Statement):
    """Text outside of delimiters."""

    text: str


@dataclass(frozen=True, slots=True)
class Raw(Statement):
    """The content of `raw` or `verbatim`: kept through every pass of a recursive rendering."""

    text: str


@dataclass(frozen=True, slots=True)
class Print(Statement):
    """`{{ expression }}`."""

    expression: Expression


@dataclass(frozen=True, slots=True)
class Set(Statement):
    """`{% set name = expression %}`."""

    name: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class If(Statement):
    """`if`, any number of `elseif`, `else`."""

    branches: tuple[tuple[Expression, tuple[Statement, ...]], ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class For(Statement):
    """`for name in sequence`, with `else` for an empty sequence."""

    name: str
    sequence: Expression
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class FilterBlock(Statement):
    """`filter a | b`: the body's text goes through the filters, first to last."""

    filters: tuple[tuple[int, str, Arguments], ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Macro(Statement):
    """`macro name(parameter=default)`."""

    name: str
    parameters: tuple[tuple[str, Expression | None], ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Block(Statement):
    """`block "name"`: written in place and again by the function `block`."""

    name: str
    body: tuple[Statement, ...]
