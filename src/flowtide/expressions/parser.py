"""Builds the tree of a template from its tokens by precedence climbing.

In: the source. Out: the statements of the template (`nodes`). Raises SyntaxFault with the offset.
"""

from __future__ import annotations

from typing import Final, NoReturn

from flowtide.expressions import lexer, nodes
from flowtide.expressions.faults import SyntaxFault
from flowtide.expressions.lexer import Token, tokenize

# C O13, upstream's full table; all binary operators associate to the left.
_FILTER_PRECEDENCE: Final = 100
_TEST_PRECEDENCE: Final = 20
_PRECEDENCE: Final[dict[str, int]] = {
    "??": 120,
    "???": 120,
    "..": 120,
    "~": 110,
    "|": _FILTER_PRECEDENCE,
    "*": 60,
    "/": 60,
    "%": 60,
    "+": 40,
    "-": 40,
    "==": 30,
    "!=": 30,
    "equals": 30,
    "<": 30,
    ">": 30,
    "<=": 30,
    ">=": 30,
    "is": _TEST_PRECEDENCE,
    "contains": 20,
    "isIn": 20,
    "isNotIn": 20,
    "and": 15,
    "or": 10,
}
_UNARY_PRECEDENCE: Final = 500
_CHAINED: Final = frozenset({"??", "~", "and", "or"})
_CONSTANTS: Final[dict[str, bool | None]] = {
    "true": True,
    "TRUE": True,
    "false": False,
    "FALSE": False,
    "null": None,
    "NULL": None,
    "none": None,
    "NONE": None,
}
_RESERVED: Final = frozenset({*_CONSTANTS, "not", "and", "or", "is", "isIn", "isNotIn", "contains", "equals"})
_MAX_DEPTH: Final = 60
_UNSUPPORTED: Final[dict[str, str]] = {
    "extends": "templates have no parent here, because there is no store of templates",
    "include": "there is no store of templates to include from; use render(read('file')) instead",
    "import": "there is no store of templates to import from; define the macro in this template",
    "from": "there is no store of templates to import from; define the macro in this template",
    "embed": "there is no store of templates to embed",
}
# Tags that change how a server renders, not what: their content is rendered as it stands (C T10).
_TRANSPARENT: Final[dict[str, str]] = {
    "autoescape": "endautoescape",
    "cache": "endcache",
    "parallel": "endparallel",
}
_ENDS: Final = frozenset(
    {*_TRANSPARENT.values(), "endif", "endfor", "endfilter", "endmacro", "endblock", "else", "elseif"}
)


def parse(source: str) -> tuple[nodes.Statement, ...]:
    """The statements of a template."""
    parser = _Parser(tokenize(source))
    body, _ = parser.body((), None)
    return body


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.index = 0
        self.depth = 0

    # Tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def advance(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def is_operator(self, value: str) -> bool:
        token = self.tokens[self.index]
        return token.kind == lexer.OPERATOR and token.value == value

    def skip_operator(self, value: str) -> bool:
        if self.is_operator(value):
            self.index += 1
            return True
        return False

    def expect_operator(self, value: str) -> None:
        if not self.skip_operator(value):
            self.unexpected(f"`{value}`")

    def expect_name(self, what: str) -> Token:
        if self.token.kind != lexer.NAME:
            self.unexpected(what)
        return self.advance()

    def is_name(self, value: str) -> bool:
        return self.token.kind == lexer.NAME and self.token.value == value

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        if token.kind in (lexer.NAME, lexer.OPERATOR, lexer.NUMBER):
            found = f"`{str(token.value)[:60]}`"
        elif token.kind in (lexer.STRING, lexer.INTERPOLATED):
            found = "a string"
        elif token.kind in (lexer.END, lexer.TEXT, lexer.RAW):
            found = "the end"
        else:
            found = f"`{token.kind}`"
        raise SyntaxFault(f"expected {wanted}, found {found}", token.position)

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise SyntaxFault(f"nested more than {_MAX_DEPTH} levels deep", self.token.position)

    # Statements

    def body(self, ends: tuple[str, ...], opened: Token | None) -> tuple[tuple[nodes.Statement, ...], str]:
        """Statements up to a tag in `ends`, whose name is returned and whose words are left to the caller."""
        self.deeper()
        statements: list[nodes.Statement] = []
        while True:
            token = self.advance()
            if token.kind == lexer.TEXT:
                statements.append(nodes.Text(token.position, token.value))
            elif token.kind == lexer.RAW:
                statements.append(nodes.Raw(token.position, token.value))
            elif token.kind == lexer.PRINT_BEGIN:
                expression = self.expression()
                if self.token.kind != lexer.PRINT_END:
                    self.unexpected("an operator or `}}`")
                self.advance()
                statements.append(nodes.Print(token.position, expression))
            elif token.kind == lexer.TAG_BEGIN:
                tag = self.expect_name("the name of a tag")
                if tag.value in ends:
                    self.depth -= 1
                    return tuple(statements), tag.value
                statements.append(self.tag(tag))
            else:
                if opened is not None:
                    raise SyntaxFault(f"{{% {opened.value} %}} has no {{% {ends[-1]} %}}", opened.position)
                self.depth -= 1
                return tuple(statements), ""

    def end_tag(self) -> None:
        if self.token.kind != lexer.TAG_END:
            self.unexpected("`%}`")
        self.advance()

    def tag(self, tag: Token) -> nodes.Statement:
        name = tag.value
        if name == "set":
            return self.set_tag(tag)
        if name == "if":
            return self.if_tag(tag)
        if name == "for":
            return self.for_tag(tag)
        if name == "filter":
            return self.filter_tag(tag)
        if name == "macro":
            return self.macro_tag(tag)
        if name == "block":
            return self.block_tag(tag)
        if name in _TRANSPARENT:
            return self.transparent_tag(tag)
        if name == "flush":
            self.end_tag()
            return nodes.Text(tag.position, "")
        if name in _UNSUPPORTED:
            raise SyntaxFault(f"the tag `{name}` is not supported: {_UNSUPPORTED[name]}", tag.position)
        if name == "elif":
            raise SyntaxFault("unknown tag `elif`; write `elseif`", tag.position)
        if name in _ENDS:
            raise SyntaxFault(f"`{name}` without the tag that it belongs to", tag.position)
        raise SyntaxFault(
            f"unknown tag `{name}`; the tags are set, if, for, filter, raw, verbatim, macro and block",
            tag.position,
        )

    def transparent_tag(self, tag: Token) -> nodes.FilterBlock:
        if tag.value == "autoescape":
            if not self.is_name("false"):
                raise SyntaxFault(
                    "output is never escaped; write `{% autoescape false %}`, or use the filter `escape`",
                    tag.position,
                )
            self.advance()
        elif tag.value == "cache":
            self.expression()
        self.end_tag()
        body, _ = self.body((_TRANSPARENT[tag.value],), tag)
        self.end_tag()
        return nodes.FilterBlock(tag.position, (), body)

    def set_tag(self, tag: Token) -> nodes.Set:
        name = self.local_name()
        self.expect_operator("=")
        expression = self.expression()
        self.end_tag()
        return nodes.Set(tag.position, name, expression)

    def local_name(self) -> str:
        token = self.expect_name("a variable name")
        if token.value in _RESERVED:
            raise SyntaxFault(f"`{token.value}` is a reserved word", token.position)
        return str(token.value)

    def if_tag(self, tag: Token) -> nodes.If:
        branches: list[tuple[nodes.Expression, tuple[nodes.Statement, ...]]] = []
        otherwise: tuple[nodes.Statement, ...] = ()
        condition = self.expression()
        self.end_tag()
        while True:
            body, end = self.body(("elseif", "else", "endif"), tag)
            branches.append((condition, body))
            if end == "elseif":
                condition = self.expression()
                self.end_tag()
                continue
            self.end_tag()
            if end == "else":
                otherwise, _ = self.body(("endif",), tag)
                self.end_tag()
            return nodes.If(tag.position, tuple(branches), otherwise)

    def for_tag(self, tag: Token) -> nodes.For:
        name = self.local_name()
        if not self.is_name("in"):
            self.unexpected("`in`")
        self.advance()
        sequence = self.expression()
        self.end_tag()
        body, end = self.body(("else", "endfor"), tag)
        self.end_tag()
        otherwise: tuple[nodes.Statement, ...] = ()
        if end == "else":
            otherwise, _ = self.body(("endfor",), tag)
            self.end_tag()
        return nodes.For(tag.position, name, sequence, body, otherwise)

    def filter_tag(self, tag: Token) -> nodes.FilterBlock:
        filters: list[tuple[int, str, nodes.Arguments]] = []
        while True:
            name = self.expect_name("the name of a filter")
            filters.append((name.position, name.value, self.optional_arguments()))
            if not self.skip_operator("|"):
                break
        self.end_tag()
        body, _ = self.body(("endfilter",), tag)
        self.end_tag()
        return nodes.FilterBlock(tag.position, tuple(filters), body)

    def macro_tag(self, tag: Token) -> nodes.Macro:
        name = self.expect_name("the name of the macro").value
        self.expect_operator("(")
        parameters: list[tuple[str, nodes.Expression | None]] = []
        while not self.is_operator(")"):
            parameter = self.local_name()
            default = self.expression() if self.skip_operator("=") else None
            parameters.append((parameter, default))
            if not self.skip_operator(","):
                break
        self.expect_operator(")")
        self.end_tag()
        body, _ = self.body(("endmacro",), tag)
        self.end_of_named(name)
        return nodes.Macro(tag.position, name, tuple(parameters), body)

    def block_tag(self, tag: Token) -> nodes.Block:
        token = self.advance()
        if token.kind not in (lexer.STRING, lexer.NAME):
            raise SyntaxFault("expected the name of the block in quotes", token.position)
        self.end_tag()
        body, _ = self.body(("endblock",), tag)
        self.end_of_named(token.value)
        return nodes.Block(tag.position, token.value, body)

    def end_of_named(self, name: str) -> None:
        """`endmacro` and `endblock` may repeat the name."""
        if self.token.kind in (lexer.NAME, lexer.STRING) and self.token.value == name:
            self.advance()
        self.end_tag()

    # Expressions

    def expression(self) -> nodes.Expression:
        self.deeper()
        condition = self.binary(0)
        if self.is_operator("?"):
            position = self.advance().position
            yes = self.expression()
            self.expect_operator(":")
            no = self.expression()
            condition = nodes.Ternary(position, condition, yes, no)
        self.depth -= 1
        return condition

    def binary(self, minimum: int) -> nodes.Expression:
        left = self.unary()
        height = 0
        while True:
            token = self.token
            if token.kind not in (lexer.OPERATOR, lexer.NAME):
                return left
            operator = token.value
            precedence = _PRECEDENCE.get(operator, -1)
            if precedence < minimum:
                return left
            self.advance()
            if operator == "|":
                left = self.filter(left)
            elif operator == "is":
                left = self.test(left, token.position)
            else:
                self.deeper()
                right = self.binary(precedence + 1)
                self.depth -= 1
                if operator in _CHAINED:
                    if isinstance(left, nodes.Chain) and left.operator == operator and height:
                        left = nodes.Chain(left.position, operator, (*left.operands, right))
                        continue
                    left = nodes.Chain(token.position, operator, (left, right))
                elif operator == "???":
                    left = nodes.UndefinedCoalesce(token.position, left, right)
                else:
                    left = nodes.Binary(
                        token.position, "==" if operator == "equals" else operator, left, right
                    )
            height += 1
            if height > _MAX_DEPTH:
                raise SyntaxFault(
                    f"more than {_MAX_DEPTH} operators in one chain; split it with {{% set %}}",
                    token.position,
                )

    def filter(self, target: nodes.Expression) -> nodes.Filter:
        name = self.expect_name("the name of a filter")
        return nodes.Filter(name.position, target, name.value, self.optional_arguments())

    def test(self, target: nodes.Expression, position: int) -> nodes.Test:
        negated = self.is_name("not")
        if negated:
            self.advance()
        name = self.expect_name("the name of a test")
        return nodes.Test(position, target, name.value, self.optional_arguments(), negated)

    def unary(self) -> nodes.Expression:
        token = self.token
        if (token.kind == lexer.NAME and token.value == "not") or (
            token.kind == lexer.OPERATOR and token.value in ("-", "+")
        ):
            self.advance()
            self.deeper()
            operand = self.binary(_UNARY_PRECEDENCE)
            self.depth -= 1
            return nodes.Unary(token.position, token.value, operand)
        return self.primary()

    def primary(self) -> nodes.Expression:
        token = self.advance()
        if token.kind == lexer.NAME:
            if token.value in _CONSTANTS:
                return self.literal_end(nodes.Literal(token.position, _CONSTANTS[token.value]))
            if token.value in _RESERVED:
                self.index -= 1
                self.unexpected("a value")
            if self.is_operator("("):
                call = nodes.Call(token.position, token.value, self.arguments())
                return self.postfix(call)
            return self.postfix(nodes.Name(token.position, token.value))
        if token.kind == lexer.NUMBER:
            return nodes.Literal(token.position, token.value)
        if token.kind == lexer.STRING:
            return self.literal_end(nodes.Literal(token.position, token.value))
        if token.kind == lexer.INTERPOLATED:
            return self.literal_end(self.interpolation(token))
        if token.kind == lexer.OPERATOR:
            if token.value == "(":
                inner = self.expression()
                self.expect_operator(")")
                return self.postfix(inner)
            if token.value == "[":
                return self.literal_end(self.list_literal(token))
            if token.value == "{":
                return self.literal_end(self.map_literal(token))
        self.index -= 1
        return self.unexpected("a value")

    def literal_end(self, literal: nodes.Expression) -> nodes.Expression:
        if self.is_operator(".") or self.is_operator("["):
            raise SyntaxFault(
                "a literal has no attributes; put it in parentheses to index it", self.token.position
            )
        return literal

    def interpolation(self, token: Token) -> nodes.Interpolation:
        parts: list[nodes.Expression] = []
        for part in token.value:
            if isinstance(part, str):
                if part:
                    parts.append(nodes.Literal(token.position, part))
                continue
            inner = _Parser(part)
            inner.depth = self.depth
            parts.append(inner.expression())
            if inner.token.kind != lexer.END:
                inner.unexpected("`}`")
        return nodes.Interpolation(token.position, tuple(parts))

    def list_literal(self, token: Token) -> nodes.ListLiteral:
        items: list[nodes.Expression] = []
        while not self.is_operator("]"):
            items.append(self.expression())
            if not self.skip_operator(","):
                break
        self.expect_operator("]")
        return nodes.ListLiteral(token.position, tuple(items))

    def map_literal(self, token: Token) -> nodes.MapLiteral:
        entries: list[tuple[nodes.Expression, nodes.Expression]] = []
        while not self.is_operator("}"):
            key = self.expression()
            self.expect_operator(":")
            entries.append((key, self.expression()))
            if not self.skip_operator(","):
                break
        self.expect_operator("}")
        return nodes.MapLiteral(token.position, tuple(entries))

    def postfix(self, target: nodes.Expression) -> nodes.Expression:
        height = 0
        while True:
            token = self.token
            if self.skip_operator("."):
                name = self.advance()
                if name.kind == lexer.NUMBER and isinstance(name.value, int):
                    index = nodes.Literal(name.position, name.value)
                    target = nodes.Attribute(name.position, target, index, bracketed=True)
                elif name.kind != lexer.NAME:
                    self.index -= 1
                    self.unexpected("the name of an attribute")
                elif self.is_operator("("):
                    target = nodes.MethodCall(name.position, target, name.value, self.arguments())
                else:
                    index = nodes.Literal(name.position, name.value)
                    target = nodes.Attribute(name.position, target, index, bracketed=False)
            elif self.skip_operator("["):
                expression = self.expression()
                self.expect_operator("]")
                target = nodes.Attribute(token.position, target, expression, bracketed=True)
            else:
                return target
            height += 1
            if height > _MAX_DEPTH:
                raise SyntaxFault(f"more than {_MAX_DEPTH} attributes in one path", token.position)

    def optional_arguments(self) -> nodes.Arguments:
        if self.is_operator("("):
            return self.arguments()
        return nodes.Arguments(self.token.position)

    def arguments(self) -> nodes.Arguments:
        position = self.token.position
        self.expect_operator("(")
        positional: list[nodes.Expression] = []
        named: list[tuple[str, nodes.Expression]] = []
        while not self.is_operator(")"):
            following = self.tokens[self.index + 1]
            if self.token.kind == lexer.NAME and following.kind == lexer.OPERATOR and following.value == "=":
                name = self.advance()
                self.advance()
                if any(name.value == known for known, _ in named):
                    raise SyntaxFault(f"the argument `{name.value}` is given twice", name.position)
                named.append((name.value, self.expression()))
            else:
                if named:
                    raise SyntaxFault("a positional argument may not follow a named one", self.token.position)
                positional.append(self.expression())
            if not self.skip_operator(","):
                break
        self.expect_operator(")")
        return nodes.Arguments(position, tuple(positional), tuple(named))
