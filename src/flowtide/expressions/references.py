"""Which variables and functions a template needs, read off its tree; nothing is rendered.

The analysis decides which data travels with a job, so in doubt it names more than is needed, never less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from flowtide.expressions import nodes
from flowtide.expressions.functions import FUNCTIONS
from flowtide.expressions.names import UNKNOWABLE_FUNCTIONS


@dataclass(frozen=True, slots=True)
class Ref:
    """An index whose value is that of the variable at `path`, as in `outputs.each[taskrun.value]`."""

    path: tuple[str, ...]


Path = tuple[str | Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """What a template (or a nested value full of them) needs.

    A path is a prefix: everything below it may be read. `dynamic` is true where the names cannot be known,
    so that everything must be there; as text found in variables is rendered then, any function may be called
    as well. `currentEachOutput(outputs.x)` counts as `outputs.x[taskrun.value]`;
    in nested loops the values of the parents come before it, so whoever finds `currentEachOutput` among
    `functions` on a task with more than one loop above must take the whole of `outputs.x`.
    """

    paths: frozenset[Path] = frozenset()
    dynamic: bool = False
    functions: frozenset[str] = frozenset()

    def __or__(self, other: References) -> References:
        """Both needs together."""
        return References(
            paths=self.paths | other.paths,
            dynamic=self.dynamic or other.dynamic,
            functions=self.functions | other.functions,
        )


NO_REFERENCES: Final = References()
_TASK_VALUE: Final[tuple[str, ...]] = ("taskrun", "value")
# `outputs.x.size` is the size of outputs.x where it has no key of that name, so all of outputs.x is needed.
_SIZES: Final = frozenset({"length", "size", "empty"})
_READ_BY_FUNCTIONS: Final[dict[str, tuple[Path, ...]]] = {
    "currentEachOutput": (_TASK_VALUE, ("parents",)),
    "parentOutput": (("parents",), ("parent",)),
    "iterationOutput": (("taskrun",), ("task",), ("parents",)),
    "tasksWithState": (("tasks",),),
    "kv": (("flow", "namespace"),),
}


def analyse(body: tuple[nodes.Statement, ...]) -> References:
    """The references of a parsed template."""
    analysis = _Analysis(body)
    analysis.statements(body, frozenset())
    return References(
        paths=frozenset(analysis.paths), dynamic=analysis.dynamic, functions=frozenset(analysis.functions)
    )


class _Analysis:
    def __init__(self, body: tuple[nodes.Statement, ...]) -> None:
        from flowtide.expressions.compiler import walk_statements

        self.paths: set[Path] = set()
        self.functions: set[str] = set()
        self.dynamic = False
        self.macros = {s.name for s in walk_statements(body) if isinstance(s, nodes.Macro)}

    def statements(self, body: tuple[nodes.Statement, ...], local: frozenset[str]) -> frozenset[str]:
        """Walks statements; `local` are the names surely bound, the result those bound afterwards."""
        for statement in body:
            local = self.statement(statement, local)
        return local

    def statement(self, statement: nodes.Statement, local: frozenset[str]) -> frozenset[str]:
        if isinstance(statement, nodes.Print):
            self.expression(statement.expression, local)
        elif isinstance(statement, nodes.Set):
            self.expression(statement.expression, local)
            return local | {statement.name}
        elif isinstance(statement, nodes.If):
            ends = []
            for condition, branch in statement.branches:
                self.expression(condition, local)
                ends.append(self.statements(branch, local))
            ends.append(self.statements(statement.otherwise, local))
            return frozenset.intersection(*ends)
        elif isinstance(statement, nodes.For):
            self.expression(statement.sequence, local)
            self.statements(statement.body, local | {statement.name, "loop"})
            self.statements(statement.otherwise, local)
        elif isinstance(statement, nodes.FilterBlock):
            for _, _, arguments in statement.filters:
                self.arguments(arguments, local)
            return self.statements(statement.body, local)
        elif isinstance(statement, nodes.Macro):
            names = frozenset(name for name, _ in statement.parameters)
            for _, default in statement.parameters:
                if default is not None:
                    self.expression(default, names)
            self.statements(statement.body, names)
        elif isinstance(statement, nodes.Block):
            # A block may be rendered again from elsewhere, where these locals are not set.
            self.statements(statement.body, frozenset())
        return local

    def arguments(self, arguments: nodes.Arguments, local: frozenset[str]) -> None:
        for argument in arguments.positional:
            self.expression(argument, local)
        for _, argument in arguments.named:
            self.expression(argument, local)

    def expression(self, node: nodes.Expression, local: frozenset[str]) -> None:
        """Records what an expression reads."""
        if isinstance(node, nodes.Name | nodes.Attribute):
            self.path(node, local)
        elif isinstance(node, nodes.Call):
            self.call(node, local)
        elif isinstance(node, nodes.Filter | nodes.Test | nodes.MethodCall):
            self.expression(node.target, local)
            self.arguments(node.arguments, local)
        else:
            for child in _children(node):
                self.expression(child, local)

    def path(self, node: nodes.Name | nodes.Attribute, local: frozenset[str]) -> Path | None:
        """Records the longest path known of a chain of attributes, and what its indexes read."""
        indexes: list[nodes.Attribute] = []
        target: nodes.Expression = node
        while isinstance(target, nodes.Attribute):
            indexes.append(target)
            target = target.target
        indexes.reverse()
        for attribute in indexes:
            self.expression(attribute.index, local)
        if not isinstance(target, nodes.Name):
            self.expression(target, local)
            return None
        if target.name == "_context" and target.name not in local:
            self.dynamic = True
            return None
        if target.name in local:
            return None
        path = _known_path(target.name, indexes, local)
        self.paths.add(path)
        return path

    def call(self, node: nodes.Call, local: frozenset[str]) -> None:
        name = node.name
        arguments = node.arguments
        if name in self.macros and name not in FUNCTIONS:
            self.arguments(arguments, local)
            return
        if name == "block":
            return
        self.functions.add(name)
        if name in UNKNOWABLE_FUNCTIONS:
            self.dynamic = True
        self.paths.update(_READ_BY_FUNCTIONS.get(name, ()))
        if name == "currentEachOutput":
            values = [*arguments.positional, *(value for _, value in arguments.named)]
            if len(values) == 1 and isinstance(values[0], nodes.Attribute):
                attribute = values[0]
                known = _static_path(attribute, local)
                if known is not None:
                    self.paths.add((*known, Ref(_TASK_VALUE)))
                    return
        if name == "iterationOutput" and not self.task_outputs(arguments):
            self.paths.add(("outputs",))
        self.arguments(arguments, local)

    def task_outputs(self, arguments: nodes.Arguments) -> bool:
        """iterationOutput('task') reads outputs.task; without a task it may read any."""
        values = [*arguments.positional[:1], *(value for key, value in arguments.named if key == "taskId")]
        if len(values) != 1:
            return False
        if isinstance(values[0], nodes.Literal) and isinstance(values[0].value, str):
            self.paths.add(("outputs", values[0].value))
            return True
        return False


def _known_path(name: str, indexes: list[nodes.Attribute], local: frozenset[str]) -> Path:
    path: list[str | Ref] = [name]
    for attribute in indexes:
        index = attribute.index
        if isinstance(index, nodes.Literal) and isinstance(index.value, str):
            if index.value in _SIZES or index.value.isdigit():
                break
            path.append(index.value)
            continue
        static = _static_path(index, local)
        if static is None:
            break
        path.append(Ref(static))
    return tuple(path)


def _static_path(node: nodes.Expression, local: frozenset[str]) -> tuple[str, ...] | None:
    """The path of an expression that is nothing but names, or None."""
    names: list[str] = []
    while isinstance(node, nodes.Attribute):
        index = node.index
        if not isinstance(index, nodes.Literal) or not isinstance(index.value, str):
            return None
        if index.value in _SIZES or index.value.isdigit():
            return None
        names.append(index.value)
        node = node.target
    if not isinstance(node, nodes.Name) or node.name in local or node.name == "_context":
        return None
    names.append(node.name)
    return tuple(reversed(names))


def _children(node: nodes.Expression) -> tuple[nodes.Expression, ...]:
    if isinstance(node, nodes.Binary | nodes.UndefinedCoalesce):
        return (node.left, node.right)
    if isinstance(node, nodes.Chain):
        return node.operands
    if isinstance(node, nodes.Ternary):
        return (node.condition, node.yes, node.no)
    if isinstance(node, nodes.Unary):
        return (node.operand,)
    if isinstance(node, nodes.ListLiteral):
        return node.items
    if isinstance(node, nodes.Interpolation):
        return node.parts
    if isinstance(node, nodes.MapLiteral):
        return tuple(part for entry in node.entries for part in entry)
    assert isinstance(node, nodes.Literal)
    return ()
