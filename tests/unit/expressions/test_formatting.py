"""The filters `format`, `escape` and `raw`, the tags that only concern a server, and hints at names (C F63, T10)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.errors import ExpressionError
from flowtide.expressions import Scope, compile_template

VARIABLES: dict[str, Any] = {"inputs": {"message": "a"}, "execution": {"id": "x"}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'Hello %s, %s' | format('you', 3) }}", "Hello you, 3"),
        ("{{ '%2$s-%1$s' | format('a', 'b') }}", "b-a"),
        (
            "{{ '%5d|%-5d|%05d|%+d|%,d' | format(42, 42, 42, 42, 1234567) }}",
            "   42|42   |00042|+42|1,234,567",
        ),
        ("{{ '%.2f|%8.3f|%,.1f|%(d' | format(2.345, 2.5, 12345.67, -7) }}", "2.35|   2.500|12,345.7|(7)"),
        ("{{ '%x %X %o %e' | format(255, 255, 8, 12345.678) }}", "ff FF 10 1.234568e+04"),
        ("{{ '%b %c %S %.2s%%%n' | format(true, 'x', 'loud', 'abc') }}", "true x LOUD ab%\n"),
        ("{{ '%s' | format(null) }}", "null"),
        ("{{ '%s' | format([1, {'a': true}]) }}", '[1,{"a":true}]'),
        ("{{ null | format('a') }}", ""),
        ("{{ '<a href=\"x\">&' | escape }}", "&lt;a href=&#34;x&#34;&gt;&amp;"),
        ("{{ '<a>' | raw }}", "<a>"),
        ("{% cache 'key' %}{{ 1 + 1 }}{% endcache %}!", "2!"),
        ("{% parallel %}{{ inputs.message }}{% endparallel %}", "a"),
        ("{% autoescape false %}<{% endautoescape %}", "<"),
        ("a{% flush %}b", "ab"),
    ],
)
def test_what_is_rendered(source: str, expected: str) -> None:
    """Specifiers are filled as Java fills them; transparent tags leave their content as it is."""
    assert compile_template(source).render(Scope(VARIABLES)) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ '%s %s' | format('a') }}", "no argument for `%s`"),
        ("{{ '%d' | format('a') }}", "`%d` needs a whole number, not a"),
        ("{{ '%q' | format('a') }}", "the conversion `%q` is not known"),
        ("{{ '100%' | format('a') }}", "write `%%` for a percent sign"),
        ("{{ '%999999s' | format('a') }}", "at most 1000 wide"),
        ("{{ 1 | format('a') }}", "needs a text with specifiers"),
        ("{{ 'a' | escape('js') }}", "knows the strategy `html` only"),
        ("{% autoescape true %}a{% endautoescape %}", "output is never escaped"),
        ("{% cache 'key' %}", "{% cache %} has no {% endcache %}"),
        ("{% endcache %}", "`endcache` without the tag"),
        ("{{ inpts.message }}", "did you mean `inputs`?"),
        ("{{ inputs.mesage }}", "did you mean `message`?"),
        ("{{ parent() }}", "needs a parent template"),
    ],
)
def test_what_is_refused(source: str, message: str) -> None:
    """Each slip is told with what to do."""
    with pytest.raises(ExpressionError) as caught:
        compile_template(source).render(Scope(VARIABLES))
    assert message in str(caught.value)
