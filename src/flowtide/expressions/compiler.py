"""Turns the tree of a template into Python functions, as Jinja2 does.

In: statements. Out: a function from a scope to text, or to the values printed. The generated source holds
nothing of the user's text but constants; names and attributes are always looked up by the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from flowtide.expressions import attributes, calls, equality, nodes, operators, runtime
from flowtide.expressions.calls import Parameters, unknown
from flowtide.expressions.faults import Fault, SyntaxFault
from flowtide.expressions.filters import FILTERS
from flowtide.expressions.functions import FUNCTIONS
from flowtide.expressions.predicates import PREDICATES
from flowtide.expressions.printing import text

Compiled = Callable[[Any, Any], Any]
_COMPARISONS: Final = frozenset({"<", ">", "<=", ">="})
_CALLABLES: Final[dict[str, Any]] = {
    "__builtins__": {},
    "enumerate": enumerate,
    "len": len,
    "Run": runtime.Run,
    "Output": runtime.Output,
    "text": text,
    "root": attributes.root,
    "attribute": attributes.attribute,
    "method": attributes.method,
    "truth": operators.truth,
    "ternary_truth": operators.ternary_truth,
    "equals": operators.equals,
    "compare": operators.compare,
    "contains": operators.contains,
    "is_in": operators.is_in,
    "binary": operators.binary,
    "negate": operators.negate,
    "plus": operators.plus,
    "concat": operators.concat,
    "coalesce": operators.coalesce,
    "coalesce_undefined": operators.coalesce_undefined,
    "or_null": operators.or_null,
    "map_of": operators.map_of,
    "apply": calls.apply,
    "call": calls.call,
    "range_of": FUNCTIONS["range"][1],
    **{f"filter_{name}": entry[1] for name, entry in FILTERS.items()},
    **{f"test_{name}": entry[1] for name, entry in PREDICATES.items()},
    **{f"function_{name}": entry for name, entry in FUNCTIONS.items()},
}


def compile_body(body: tuple[nodes.Statement, ...], *, typed: bool) -> Compiled:
    """The function `(scope, run) -> text`, or with `typed` `-> list of printed values`.

    Raises SyntaxFault for unknown filters and tests and for wrong arguments of them.
    """
    source, constants = _Compiler(body, typed=typed).compile()
    environment = {**_CALLABLES, **constants}
    try:
        code = compile(source, "<template>", "exec")
    except (SyntaxError, RecursionError, MemoryError, OverflowError):
        raise SyntaxFault("the template is nested too deeply or too large to compile", 0) from None
    exec(code, environment)  # noqa: S102 - source written by this module, never by a user
    compiled: Compiled = environment["template"]
    return compiled


class _Code(str):
    """A piece of generated Python, as opposed to a default value."""

    __slots__ = ()


class _Compiler:
    def __init__(self, body: tuple[nodes.Statement, ...], *, typed: bool) -> None:
        self.body = body
        self.typed = typed
        self.lines: list[str] = []
        self.indent = 0
        self.counter = 0
        self.constants: dict[str, Any] = {}
        self.macros: dict[str, tuple[str, nodes.Macro]] = {}
        self.blocks: dict[str, str] = {}
        self.assigned: set[str] = {"_context"}
        self.in_macro = False
        self.loops: dict[str, str] = {}  # loop variables in sight, and the generated name of their frame
        # Only a template that can repeat or name values is able to build one that is large out of small ones.
        self.guarded = False
        for statement in walk_statements(body):
            if isinstance(statement, nodes.Set):
                self.assigned.add(statement.name)
                self.guarded = True
            elif isinstance(statement, nodes.For):
                self.assigned |= {statement.name, "loop"}
                self.guarded = True
            elif isinstance(statement, nodes.Macro):
                self.macros[statement.name] = (f"macro_{len(self.macros)}", statement)
                self.guarded = True
            elif isinstance(statement, nodes.Block):
                if statement.name in self.blocks:
                    raise SyntaxFault(
                        f"the block `{statement.name[:60]}` is declared twice", statement.position
                    )
                self.blocks[statement.name] = f"block_{len(self.blocks)}"
                self.guarded = True

    def compile(self) -> tuple[str, dict[str, Any]]:
        simple = all(isinstance(statement, nodes.Text | nodes.Print | nodes.Raw) for statement in self.body)
        self.line("def template(scope, run):")
        self.indent += 1
        if simple:
            self.simple()
        else:
            self.line("variables = scope.variables")
            self.line("frames = run.frames")
            self.line("run.frames = [{}]")
            self.definitions()
            if self.typed:
                self.line("values = []")
                self.line("write = values.append")
                self.statements(self.body, "write", typed=True)
                self.line("run.frames = frames")
                self.line("return values")
            else:
                self.line("output = Output(run)")
                self.line("write = output.write")
                self.statements(self.body, "write", typed=False)
                self.line("run.frames = frames")
                self.line("return output.text()")
        return "\n".join(self.lines) + "\n", self.constants

    def simple(self) -> None:
        """Text and prints only: one formatted string, no output object."""
        self.line("variables = scope.variables")
        pieces: list[str] = []
        for statement in self.body:
            if isinstance(statement, nodes.Text):
                pieces.append(repr(statement.text))
            elif isinstance(statement, nodes.Raw):
                pieces.append(f"run.raw({statement.text!r})")
            elif isinstance(statement, nodes.Print):
                value = self.expression(statement.expression)
                pieces.append(value if self.typed else f"text({value})")
        if self.typed:
            self.line(f"return [{', '.join(pieces)}]")
        elif len(pieces) == 1:
            self.line(f"return {pieces[0]}")
        else:
            self.line(f"return ''.join(({', '.join(pieces)}{',' if pieces else ''}))")

    def line(self, code: str) -> None:
        self.lines.append(" " * self.indent + code)

    def fresh(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}_{self.counter}"

    # Statements

    def definitions(self) -> None:
        """Macros and blocks become functions inside of the template's, before its body runs."""
        for statement in walk_statements(self.body):
            if isinstance(statement, nodes.Macro):
                self.macro(statement)
            elif isinstance(statement, nodes.Block):
                self.line(f"def {self.blocks[statement.name]}():")
                self.indent += 1
                self.enter()
                self.line("output = Output(run)")
                self.line("write = output.write")
                self.line("try:")
                self.indent += 1
                self.line("frames.append({})")
                self.statements(statement.body, "write", typed=False)
                self.indent -= 1
                self.leave(restore="del frames[depth:]", prelude="")
                self.line("return output.text()")
                self.indent -= 1

    def enter(self) -> None:
        self.line("run.check_time()")
        self.line("frames = run.frames")
        self.line("depth = len(frames)")

    def leave(self, *, restore: str, prelude: str) -> None:
        self.line("finally:")
        if prelude:
            self.line(" " + prelude)
        self.line(" " + restore)

    def macro(self, macro: nodes.Macro) -> None:
        name, _ = self.macros[macro.name]
        parameters = [parameter for parameter, _ in macro.parameters]
        self.line(f"def {name}(positional, named):")
        self.indent += 1
        self.enter()
        self.line(f"arguments = {name}_parameters.bind(positional, named)")
        self.constants[f"{name}_parameters"] = Parameters(
            "macro", macro.name, tuple(parameters), (_ABSENT,) * len(parameters)
        )
        self.constants["absent"] = _ABSENT
        self.line("output = Output(run)")
        self.line("write = output.write")
        self.line("run.nesting += 1")
        self.line("try:")
        self.indent += 1
        self.line("run.frames = [{}]")
        self.line("nesting_check(run)")
        self.constants["nesting_check"] = check_nesting
        outside, self.in_macro = self.in_macro, True
        for index, (parameter, default) in enumerate(macro.parameters):
            # A parameter without a default that is not given is null, as upstream has it.
            value = self.expression(default) if default is not None else "None"
            self.line(
                f"run.frames[0][{parameter!r}] = {value} "
                f"if arguments[{index}] is absent else arguments[{index}]"
            )
        self.statements(macro.body, "write", typed=False)
        self.in_macro = outside
        self.indent -= 1
        self.leave(restore="run.frames = frames", prelude="run.nesting -= 1")
        self.line("return output.text()")
        self.indent -= 1

    def statements(self, body: tuple[nodes.Statement, ...], write: str, *, typed: bool) -> None:
        if not body:
            self.line("pass")
        for statement in body:
            self.statement(statement, write, typed=typed)

    def statement(self, statement: nodes.Statement, write: str, *, typed: bool) -> None:
        if isinstance(statement, nodes.Text):
            self.line(f"{write}({statement.text!r})")
        elif isinstance(statement, nodes.Raw):
            self.line(f"{write}(run.raw({statement.text!r}))")
        elif isinstance(statement, nodes.Print):
            value = self.expression(statement.expression)
            self.line(f"{write}({value})" if typed else f"{write}(text({value}))")
        elif isinstance(statement, nodes.Set):
            self.line(f"run.assign({statement.name!r}, {self.expression(statement.expression)})")
        elif isinstance(statement, nodes.If):
            for index, (condition, body) in enumerate(statement.branches):
                self.line(f"{'elif' if index else 'if'} {self.condition(condition)}:")
                self.nested(body, write, typed=typed)
            if statement.otherwise:
                self.line("else:")
                self.nested(statement.otherwise, write, typed=typed)
        elif isinstance(statement, nodes.For):
            self.loop(statement, write, typed=typed)
        elif isinstance(statement, nodes.FilterBlock):
            self.filter_block(statement, write)
        elif isinstance(statement, nodes.Block):
            self.line(f"{write}({self.blocks[statement.name]}())")
        else:
            assert isinstance(statement, nodes.Macro)
            self.line("pass")

    def nested(self, body: tuple[nodes.Statement, ...], write: str, *, typed: bool) -> None:
        self.indent += 1
        self.statements(body, write, typed=typed)
        self.indent -= 1

    def loop(self, statement: nodes.For, write: str, *, typed: bool) -> None:
        items, frame, index, length = (self.fresh(name) for name in ("items", "frame", "index", "length"))
        self.line(
            f"{items} = run.iterate({self.expression(statement.sequence)}, {statement.sequence.position})"
        )
        self.line(f"if {items}:")
        self.indent += 1
        self.line(f"{length} = len({items})")
        self.line(f"{frame} = run.push()")
        self.line(f"for {index}, {frame}[{statement.name!r}] in enumerate({items}):")
        self.indent += 1
        self.line("run.tick()")
        outer = self.loops
        self.loops = {**outer, statement.name: frame, "loop": frame}
        self.line(
            f"{frame}['loop'] = {{'index': {index}, 'length': {length}, 'first': {index} == 0, "
            f"'last': {index} == {length} - 1, 'revindex': {length} - {index} - 1}}"
        )
        self.statements(statement.body, write, typed=typed)
        self.loops = outer
        self.indent -= 1
        self.line("run.frames.pop()")
        self.indent -= 1
        if statement.otherwise:
            self.line(f"elif {items} is not None:")
            self.nested(statement.otherwise, write, typed=typed)

    def filter_block(self, statement: nodes.FilterBlock, write: str) -> None:
        output, inner = self.fresh("output"), self.fresh("write")
        self.line(f"{output} = Output(run)")
        self.line(f"{inner} = {output}.write")
        self.statements(statement.body, inner, typed=False)
        value = f"{output}.text()"
        for position, name, arguments in statement.filters:
            value = self.filter(value, name, arguments, position)
        self.line(f"{write}(text({value}))")

    # Expressions

    def expression(self, node: nodes.Expression) -> str:
        """The Python expression for a node."""
        if isinstance(node, nodes.Literal):
            return self.constant(node.value)
        if isinstance(node, nodes.Name):
            return self.name(node)
        if isinstance(node, nodes.Attribute):
            return (
                f"attribute({self.expression(node.target)}, {self.expression(node.index)}, {node.position})"
            )
        if isinstance(node, nodes.Filter):
            if node.name == "default":
                return self.filter(
                    self.lazy("or_null", node.target), node.name, node.arguments, node.position
                )
            return self.filter(self.expression(node.target), node.name, node.arguments, node.position)
        if isinstance(node, nodes.Call):
            return self.call(node)
        if isinstance(node, nodes.MethodCall):
            if node.arguments.named:
                raise SyntaxFault("methods take no named arguments", node.position)
            arguments = [self.expression(node.target), repr(node.name), str(node.position)]
            arguments += [self.expression(argument) for argument in node.arguments.positional]
            return f"method({', '.join(arguments)})"
        if isinstance(node, nodes.Chain):
            return self.chain(node)
        if isinstance(node, nodes.Binary):
            return self.binary(node)
        if isinstance(node, nodes.UndefinedCoalesce):
            return self.lazy("coalesce_undefined", node.left, node.right)
        if isinstance(node, nodes.Ternary):
            condition = f"ternary_truth({self.expression(node.condition)}, {node.position})"
            return f"({self.expression(node.yes)} if {condition} else {self.expression(node.no)})"
        if isinstance(node, nodes.Unary):
            if node.operator == "not":
                return f"(not {self.condition(node.operand)})"
            if isinstance(node.operand, nodes.Literal) and equality.is_number(node.operand.value):
                return self.constant(-node.operand.value if node.operator == "-" else node.operand.value)
            function = "negate" if node.operator == "-" else "plus"
            return f"{function}({self.expression(node.operand)}, {node.position})"
        if isinstance(node, nodes.Test):
            return self.test(node)
        if isinstance(node, nodes.Interpolation):
            return f"apply(run, {node.position}, concat{self.tail(node.parts)})"
        if isinstance(node, nodes.ListLiteral):
            value = f"[{', '.join(self.expression(item) for item in node.items)}]"
            return f"apply(run, {node.position}, Run.weighed, {value})" if self.guarded else value
        assert isinstance(node, nodes.MapLiteral)
        pairs = ", ".join(f"{self.expression(key)}, {self.expression(value)}" for key, value in node.entries)
        value = f"map_of({pairs})"
        return f"apply(run, {node.position}, Run.weighed, {value})" if self.guarded else value

    def constant(self, value: Any) -> str:
        # repr() of a float that is not finite is no literal; the lexer cannot make one below 1e308.
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise SyntaxFault("the number is out of range", 0)
        return f"({value!r})" if isinstance(value, int | float) and value < 0 else repr(value)

    def name(self, node: nodes.Name) -> str:
        if node.name in self.loops:
            return f"{self.loops[node.name]}[{node.name!r}]"
        if self.in_macro:
            return f"run.local({node.name!r}, {node.position})"
        if node.name in self.assigned:
            return f"run.lookup({node.name!r}, {node.position})"
        return f"root(variables, {node.name!r}, {node.position})"

    def lazy(self, function: str, *operands: nodes.Expression) -> str:
        return f"{function}({', '.join(f'lambda: {self.expression(operand)}' for operand in operands)})"

    def tail(self, operands: tuple[nodes.Expression, ...]) -> str:
        return "".join(f", {self.expression(operand)}" for operand in operands)

    def condition(self, node: nodes.Expression) -> str:
        if isinstance(node, nodes.Test):
            return self.test(node)
        return f"truth({self.expression(node)}, {node.position})"

    def chain(self, node: nodes.Chain) -> str:
        if node.operator == "??":
            return self.lazy("coalesce", *node.operands)
        if node.operator == "~":
            return f"apply(run, {node.position}, concat{self.tail(node.operands)})"
        joined = f" {node.operator} ".join(self.condition(operand) for operand in node.operands)
        return f"({joined})"

    def binary(self, node: nodes.Binary) -> str:
        left, right, position = self.expression(node.left), self.expression(node.right), node.position
        operator = node.operator
        if operator == "==":
            return f"equals({left}, {right}, {position})"
        if operator == "!=":
            return f"(not equals({left}, {right}, {position}))"
        if operator in _COMPARISONS:
            return f"compare({operator!r}, {left}, {right}, {position})"
        if operator == "contains":
            return f"contains({left}, {right}, {position})"
        if operator == "isIn":
            return f"is_in({left}, {right}, {position})"
        if operator == "isNotIn":
            return f"(not is_in({left}, {right}, {position}))"
        if operator == "..":
            return f"apply(run, {position}, range_of, {left}, {right}, 1)"
        return f"apply(run, {position}, binary, {operator!r}, {left}, {right}, {position})"

    def test(self, node: nodes.Test) -> str:
        entry = PREDICATES.get(node.name)
        if entry is None:
            raise SyntaxFault(unknown("test", node.name, PREDICATES), node.position)
        target = self.lazy("or_null", node.target) if node.name == "defined" else self.expression(node.target)
        arguments = self.bound(entry[0], node.arguments, node.position)
        value = f"apply(run, {node.position}, test_{node.name}, {target}{arguments})"
        return f"(not {value})" if node.negated else value

    def filter(self, target: str, name: str, arguments: nodes.Arguments, position: int) -> str:
        entry = FILTERS.get(name)
        if entry is None:
            raise SyntaxFault(unknown("filter", name, FILTERS), position)
        return f"apply(run, {position}, filter_{name}, {target}{self.bound(entry[0], arguments, position)})"

    def bound(self, parameters: Parameters, arguments: nodes.Arguments, position: int) -> str:
        """Arguments in declared order with their defaults; who calls with wrong ones learns it here."""
        try:
            values = parameters.bind(
                [_Code(self.expression(argument)) for argument in arguments.positional],
                {name: _Code(self.expression(argument)) for name, argument in arguments.named},
            )
        except SyntaxFault:
            raise
        except Fault as fault:
            raise SyntaxFault(fault.message, position) from None
        return "".join(f", {value if isinstance(value, _Code) else repr(value)}" for value in values)

    def call(self, node: nodes.Call) -> str:
        positional = "".join(f"{self.expression(argument)}, " for argument in node.arguments.positional)
        named = ", ".join(f"{name!r}: {self.expression(value)}" for name, value in node.arguments.named)
        if node.name == "block":
            return self.block_call(node)
        if node.name == "parent" and not node.arguments.positional:
            raise SyntaxFault(
                "`parent()` needs a parent template, and templates have none here", node.position
            )
        builtin = node.name in FUNCTIONS
        if node.name in self.macros and not builtin:
            macro = self.macros[node.name][0]
            return f"apply(run, {node.position}, macro_call, {macro}, ({positional}), {{{named}}})"
        entry = f"function_{node.name}" if builtin else "None"
        return f"call(run, {node.position}, {node.name!r}, {entry}, ({positional}), {{{named}}})"

    def block_call(self, node: nodes.Call) -> str:
        arguments = node.arguments.positional
        if len(arguments) != 1 or node.arguments.named or not isinstance(arguments[0], nodes.Literal):
            raise SyntaxFault("`block` needs the name of a block as a string", node.position)
        name = str(arguments[0].value)
        if name not in self.blocks:
            raise SyntaxFault(unknown("block", name, self.blocks), node.position)
        return f"apply(run, {node.position}, block_call, {self.blocks[name]})"


class _Absent:
    """Marks an argument that was not given."""

    def __repr__(self) -> str:
        return "absent"


_ABSENT: Final = _Absent()


def check_nesting(run: runtime.Run) -> None:
    """Refuses macros, blocks and render() that call themselves without end."""
    if run.nesting > run.scope.limits.nesting:
        raise Fault(f"macros, blocks and render() are nested more than {run.scope.limits.nesting} deep")


def _macro_call(run: runtime.Run, macro: Callable[..., str], positional: Any, named: Any) -> str:
    return macro(positional, named)


def _block_call(run: runtime.Run, block: Callable[[], str]) -> str:
    run.nesting += 1
    try:
        check_nesting(run)
        return block()
    finally:
        run.nesting -= 1


_CALLABLES["macro_call"] = _macro_call
_CALLABLES["block_call"] = _block_call


def walk_statements(body: tuple[nodes.Statement, ...]) -> Iterator[nodes.Statement]:
    """All statements, outer ones first."""
    for statement in body:
        yield statement
        if isinstance(statement, nodes.If):
            for _, branch in statement.branches:
                yield from walk_statements(branch)
            yield from walk_statements(statement.otherwise)
        elif isinstance(statement, nodes.For):
            yield from walk_statements(statement.body)
            yield from walk_statements(statement.otherwise)
        elif isinstance(statement, nodes.FilterBlock | nodes.Macro | nodes.Block):
            yield from walk_statements(statement.body)
