"""The worked examples of the reference pages and the rows of catalogue C, as a table of template and text."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from flowtide.expressions import Scope, compile_template

PAYLOAD = {
    "name": "John Doe",
    "score": {"English": 72, "Maths": 88, "French": 95, "Spanish": 85, "Science": 91},
    "address": {"city": "Paris", "country": "France"},
    "graduation_years": [2020, 2021, 2022, 2023],
}
VARIABLES: dict[str, Any] = {
    "flow": {"id": "hello", "namespace": "company.team"},
    "inputs": {
        "payload": PAYLOAD,
        "report": " Quarterly Report: Q1 2025 (FINAL) ",
        "nothing": None,
        "empty": "",
        "no": False,
        "mainString": "a long text",
        "subString": "long",
    },
    "outputs": {
        "second-task": {"value": "two"},
        "metadata": {"north": {"attr": 1}, "south": {"attr": 2}},
        "sib": {"north": {"v": "N"}},
        "nested": {"outer": {"north": {"v": "deep"}}},
    },
    "taskrun": {"value": "north", "iteration": 1},
    "task": {"id": "metadata"},
    "parents": [],
    "tasks": {"a": {"state": "FAILED"}, "b": {"state": "SUCCESS"}, "c": {"x": {"state": "FAILED"}}},
    "execution": {"state": "SUCCESS", "startDate": "2024-02-03T04:05:06.789Z"},
    "users": ["Ann", "Bob"],
    "vars": {"first": "1", "second": "{{ vars.first }}", "third": "{{ vars.second }}"},
    "items": [1, 2, 3],
    "foo": {"bar": "baz"},
}
NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


def scope(**options: Any) -> Scope:
    return Scope(VARIABLES, now=lambda: NOW, random=random.Random(1), **options)


def render(source: str) -> str:
    return compile_template(source).render(scope())


LANGUAGE = [
    ("plain", "plain"),
    ("{ not a tag } }}", "{ not a tag } }}"),
    ("{{ flow.id }}", "hello"),
    ("{{ outputs['second-task'].value }}", "two"),
    ("{{ outputs.metadata[taskrun.value].attr }}", "1"),
    ("{{ users[0] }}{{ users.length }}{{ users.size() }}", "Ann22"),
    ("a{# comment }} #}b", "ab"),
    ("a {{- flow.id -}} b", "ahellob"),
    ('{{ "}}" }}', "}}"),
    ("{{ 'it\\'s' }}", "it's"),
    ('{{ "#{flow.id} #{1 + 1}" }}', "hello 2"),
    ("{{ 100 }}{{ 2.5 }}{{ 10l }}{{ 10L }}", "1002.51010"),
    ("{{ null }}|{{ true }}|{{ FALSE }}|{{ NONE }}", "|true|false|"),
    ('{{ ["string", 1, 1.123] }}', '["string",1,1.123]'),
    ('{{ {"a": "1", "b": {"c": [true, null]}} }}', '{"a":"1","b":{"c":[true,null]}}'),
    ("{{ ([1, 2])[0] }}", "1"),
    ('{{ "apple" ~ "pear" ~ null ~ "banana" }}', "applepearbanana"),
    ("{{ 2 + 2 / (10 % 3) * (8 - 1) }}", "16"),
    ("{{ 7 / 2 }}|{{ -7 / 2 }}|{{ -7 % 3 }}|{{ 7 / 2.0 }}", "3|-3|-1|3.5"),
    ("{{ 1 + 'a' }}|{{ [1] + 2 }}|{{ [1, 2] + [3] }}|{{ [1, 2, 3] - [2] }}", "1a|[1,2]|[1,2,3]|[1,3]"),
    ("{{ 1.0 * 5 }}|{{ 10000000.0 }}|{{ 0.0001 * 1 }}", "5.0|1.0E7|1.0E-4"),
    ("{{ 1 == 1.0 }}{{ 1 == '1' }}{{ 'a' equals 'a' }}{{ 1 != 2 }}", "truefalsetruetrue"),
    ("{{ 1 < 2 }}{{ null < 2 }}{{ 'a' < 'b' }}{{ 2 >= 2 }}", "truefalsetruetrue"),
    ("{{ (3 is not even) and (2 is odd or 3 is even) }}", "false"),
    ('{{ ["apple", "pear", "banana", "peach"] contains ["apple", "peach"] }}', "true"),
    ('{{ {"apple": "red", "banana": "yellow"} contains "banana" }}', "true"),
    ("{{ inputs.mainString contains inputs.subString }}", "true"),
    ("{{ execution.state isIn ['SUCCESS', 'KILLED', 'CANCELLED'] }}", "true"),
    ("{{ execution.state isNotIn ['SUCCESS'] }}", "false"),
    ("{{ missing ?? inputs.nothing ?? 'default' }}", "default"),
    ("{{ inputs.nothing ??? 'a' }}|{{ (inputs.nothing ??? 'a') ?? 'b' }}", "|b"),
    ("{{ trigger.body.field ?? 'data' }}|{{ {} ?? 'x' }}|{{ inputs.empty ?? 'x' }}", "data|{}|"),
    ("{{ trigger.date ?? execution.startDate | date('yyyy-MM-dd') }}", "2024-02-03"),
    ('{{ "x" ~ "y" | upper }}', "XY"),
    ("{{ ['Bowler hat', 2] | upper }}|{{ ['A', ['B']] | lower }}", '[BOWLER HAT, 2]|[a, ["b"]]'),
    ("{{ '1' + '2' | number }}", "12"),
    ("{{ 1..3 }}", "[1,2,3]"),
    ("{{ not true is null }}", "false"),
    ("{{ missing.x is defined ? 'a' : 'b' }}|{{ inputs.nothing is defined }}", "b|false"),
    ("{{ inputs.nothing ? 1 : 2 }}{{ 'false' ? 1 : 2 }}{{ 0 ? 1 : 2 }}", "212"),
    ("{{ '' is empty }}{{ ' ' is empty }}{{ [] is empty }}{{ {} is empty }}", "truetruetruetrue"),
    ("{{ [1] is iterable }}{{ {} is iterable }}{{ {} is map }}", "truefalsetrue"),
    ("{{ '{\"test\": 1}' is json }}{{ 'x' is json }}", "truefalse"),
    ('{% set header = "Welcome Page" %}{{ header }}', "Welcome Page"),
    ("{% if false %}a{% elseif users is empty %}b{% else %}c{% endif %}", "c"),
    ("{% for u in users %}{{ loop.index }}{{ u }}{{ loop.last ? '.' : ',' }}{% endfor %}", "0Ann,1Bob."),
    ("{% for e in {'a': 1, 'b': 2} %}{{ e.key }}={{ e.value }};{% endfor %}", "a=1;b=2;"),
    ("{% for x in [] %}a{% else %}none{% endfor %}", "none"),
    ("{% for x in inputs.nothing %}a{% else %}none{% endfor %}", ""),
    ("{% for x in users %}{{ loop.revindex }}{{ loop.length }}{{ loop.first }}{% endfor %}", "12true02false"),
    ("{% set n = 0 %}{% for x in [1, 2, 3] %}{% set n = n + x %}{% endfor %}{{ n }}", "6"),
    ("{% filter upper %} hello {% endfilter %}", " HELLO "),
    ("{% filter lower | title %} hello world {% endfilter %}", " Hello World "),
    ("{% raw %}{{ user.name }}{% endraw %}", "{{ user.name }}"),
    ("{%- raw -%} {{ a }}\n {%- endraw -%}!", "{{ a }}!"),
    ("{% verbatim %}{% if %}{% endverbatim %}", "{% if %}"),
    (
        (
            '{% macro input(type="text", name, value="") %}type: "{{ type }}", name: "{{ name }}", '
            'value: "{{ value }}"{% endmacro %}{{ input(name="country") }}'
        ),
        'type: "text", name: "country", value: ""',
    ),
    ("{% macro display(_context) %}{{ _context.foo.bar }}{% endmacro %}{{ display(_context) }}", "baz"),
    ('{% block "b" %}x{% endblock %}{{ block("b") }}', "xx"),
    ("{{ ({'a': 1}).size }}", "1"),
    ("{{ ({'a': 1}).keySet() }}{{ ({'a': 1}).get('a') }}{{ ({'a': 1}).get('b') }}", '["a"]1'),
]
FILTERS = [
    ("{{ -7 | abs }}", "7"),
    ('{{ "12.3" | number | className }}', "java.lang.Float"),
    ("{{ \"9223372036854775807\" | number('BIGDECIMAL') | className }}", "java.math.BigDecimal"),
    ('{{ "2147483647" | number | className }}', "java.lang.Integer"),
    ('{{ "9223372036854775807" | number | className }}', "java.lang.Long"),
    ('{{ 3.141592653 | numberFormat("#.##") }}', "3.14"),
    ("{{ 1234567.891 | numberFormat('#,##0.00') }}", "1,234,567.89"),
    ("{{ ['apple', 'banana', 'cherry'] | first }}{{ 'Kestra' | first }}", "appleK"),
    ("{{ ['apple', 'banana', 'cherry'] | last }}{{ 'Kestra' | last }}", "cherrya"),
    ("{{ ['apple', 'banana'] | length }}{{ 'Kestra' | length }}{{ null | length }}", "260"),
    ("{{ ['apple', 'banana', 'cherry'] | join(', ') }}", "apple, banana, cherry"),
    ("{{ 'apple,banana,cherry' | split(',') }}", '["apple","banana","cherry"]'),
    ("{{ 'a.b.c' | split('\\\\.') }}{{ 'a.b.c' | split('\\.') }}", '["a","b","c"]["a","b","c"]'),
    ("{{ 'apple,banana,cherry,grape' | split(',', 2) }}", '["apple","banana,cherry,grape"]'),
    ("{{ 'a,b,,' | split(',') }}{{ 'a,b,,' | split(',', -1) }}", '["a","b"]["a","b","",""]'),
    ("{{ ',a' | split(',') }}{{ 'abc' | split('') }}", '["","a"]["a","b","c"]'),
    ("{{ [3, 1, 2] | sort }}{{ [3, 1, 2] | rsort }}{{ [1, 2, 3] | reverse }}", "[1,2,3][3,2,1][3,2,1]"),
    ("{{ [1, 2, 3, 4, 5] | chunk(2) }}", "[[1,2],[3,4],[5]]"),
    ("{{ [1, 2, 2, 3, 1] | distinct }}", "[1,2,3]"),
    ("{{ ['apple', 'banana', 'cherry'] | slice(1, 2) }}{{ 'Kestra' | slice(1, 3) }}", '["banana"]es'),
    ("{{ [1, 2] | merge([3, 4]) }}{{ {'a': 1} | merge({'a': 2}) }}", '[1,2,3,4]{"a":2}'),
    ("{{ [[1, 2], [3, 4], [5]] | flatten }}", "[1,2,3,4,5]"),
    ("{{ {'foo': 'bar', 'baz': 'qux'} | keys }}{{ [7, 8] | keys }}", '["foo","baz"][0,1]'),
    ("{{ {'foo': 'bar', 'baz': 'qux'} | values }}", '["bar","qux"]'),
    ('{{ "LOUD TEXT" | lower }}{{ "quiet" | upper }}', "loud textQUIET"),
    ('{{ "article title isn\'t HERE" | title }}', "Article Title Isn't HERE"),
    ('{{ "hello World" | capitalize }}', "Hello World"),
    ('{{ " padded " | trim }}', "padded"),
    ('{{ "this is a long sentence." | abbreviate(7) }}{{ "abcd" | abbreviate(4) }}', "this...a..."),
    ("{{ 'I like %this%.' | replace({'%this%': foo.bar}) }}", "I like baz."),
    ("{{ 'aa1bb2' | replace({'(\\d)': '-$1-'}, regexp=true) }}", "aa-1-bb-2-"),
    ("{{ 'a.b.c' | substringBefore('.') }}|{{ 'a.b.c' | substringAfter('.') }}", "a|b.c"),
    ("{{ 'a.b.c' | substringBeforeLast('.') }}|{{ 'a.b.c' | substringAfterLast('.') }}", "a.b|c"),
    ("{{ 'abc' | substringBefore('x') }}|{{ 'abc' | substringAfter('x') }}", "abc|"),
    ('{{ "Hello World!" | slugify }}', "hello-world"),
    ("{{ missing.x | default('d') }}{{ ' ' | default('e') }}{{ [] | default('f') }}", "def"),
    ('{{ "kestra://f" | startsWith("kestra://") }}{{ "r.csv" | endsWith(".csv") }}', "truetrue"),
    ("{{ 'test' | base64encode }}{{ 'dGVzdA==' | base64decode }}", "dGVzdA==test"),
    ('{{ "The string ü@foo-bar" | urlencode }}', "The+string+%C3%BC%40foo-bar"),
    ('{{ "*~ +" | urlencode }}|{{ "The+%C3%BC" | urldecode }}', "*%7E+%2B|The ü"),
    ("{{ 'test' | sha1 }}", "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3"),
    ("{{ 'test' | md5 }}", "098f6bcd4621d373cade4e832627b4f6"),
    ("{{ 42 | string }}{{ true | string }}", "42true"),
    ("{{ \"Can't be here\" | escapeChar('single') }}", "Can\\'t be here"),
    ("{{ \"a'b\" | escapeChar('SHELL') }}", "a'\\''b"),
    ('{{ "hello world" | regexMatch("w[a-z]+") }}', "true"),
    ('{{ "2024-01-15" | regexReplace("(\\\\d{4})-(\\\\d{2})-(\\\\d{2})", "$3/$2/$1") }}', "15/01/2024"),
    ('{{ "order-12345-done" | regexExtract("\\\\d+") }}', "12345"),
    ('{{ "2024-01-15" | regexExtract("(\\d{4})-(\\d{2})-(\\d{2})", 1) }}', "2024"),
    (
        "{{ [1, 2, 3] | toJson }}{{ true | toJson }}{{ 'foo' | toJson }}{{ null | toJson }}",
        '[1,2,3]true"foo"null',
    ),
    ("{{ {'a': 'x', 'b c': [1, 2.5]} | toIon }}", "{a:\"x\",'b c':[1,2.5e0]}"),
    ("{{ [1, 2, 3] | jq('.') }}", "[[1,2,3]]"),
    ("{{ [1, 2, 3] | jq('.[0]') | first }}", "1"),
    ("{{ inputs | jq('.missing') }}", "[null]"),
    ("{{ items | jq('.[2]') | first == 3 }}", "true"),
    ("{{ fromJson('{\"value\": 4}') | jq('.value * 2') | first }}", "8"),
    ("{{ {'key': 'value'} | yaml }}", "key: value\n"),
    ("{{ ['a', 'b'] | yaml }}", " - a\n - b\n"),
    ("{{ {'t': 'a\nb', 'd': '2024-01-01', 'n': '1'} | yaml }}", "t: |-\n  a\n  b\nd: 2024-01-01\nn: '1'\n"),
    ("{{ ('foo: bar' | yaml).foo }}", "bar"),
    ("{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | nindent(2) }}", "a\n  b|\n  a\n  b"),
]
DATES = [
    ("{{ '2013-09-08' | date(timeZone='Europe/Paris') }}", "2013-09-08T00:00:00.000000+02:00"),
    ("{{ 'July 24, 2001' | date('yyyy-MM-dd', existingFormat='MMMM dd, yyyy') }}", "2001-07-24"),
    ("{{ '2024-May-6' | date(existingFormat='yyyy-MMMM-d', format='yyyy/MMMM/d') }}", "2024/May/6"),
    ("{{ now() | date(\"yyyy-MM-dd'T'HH:mm:ssX\", timeZone='UTC') }}", "2024-05-06T07:08:09Z"),
    ("{{ now() }}", "2024-05-06T07:08:09.123456Z"),
    ("{{ now(timeZone='Europe/Paris') }}", "2024-05-06T09:08:09.123456+02:00"),
    ("{{ execution.startDate | date('sql') }}", "2024-02-03 04:05:06.789000"),
    ("{{ execution.startDate | date('iso_instant') }}", "2024-02-03T04:05:06.789Z"),
    ("{{ execution.startDate | dateAdd(-3, 'MONTHS') | date('yyyyMM') }}", "202311"),
    ("{{ '2024-01-31' | dateAdd(1, 'MONTHS') }}", "2024-02-29T00:00:00.000000Z"),
    ("{{ '2024-05-06T07:08:09Z' | timestamp }}", "1714979289"),
    ("{{ '2024-05-06T07:08:09Z' | timestampMilli }}", "1714979289000"),
    ("{{ '2024-05-06T07:08:09Z' | timestampNano }}", "1714979289000000000"),
    ("{{ (now() | timestamp) > (now() | dateAdd(-1, 'DAYS') | timestamp) }}", "true"),
    ("{{ '2024-05-06' | date('EEEE EEE D w a h') }}", "Monday Mon 127 19 AM 12"),
    ("{{ '2024-12-30' | date('iso_week_date') }}", "2025-W01-1Z"),
    ("{{ '2024-05-06' | date('EEEE d. MMMM', locale='de') }}", "Montag 6. Mai"),
]
FUNCTIONS = [
    ("{{ max(5, 10, 15) }}{{ min(5, 10, 15) }}", "155"),
    (
        "{{ range(0, 3) }}{{ range(0, 6, 2) }}{{ range(3, 1, -1) }}{{ range('a', 'c') }}",
        '[0,1,2,3][0,2,4,6][3,2,1]["a","b","c"]',
    ),
    ("{{ fromJson('[1, 2, 3]')[0] }}{{ json('{\"a\": 2}').a }}", "12"),
    ("{{ yaml('foo: [666, 1, 2]').foo[0] }}", "666"),
    ("{{ fromIon('{someField: \"x\", n: 1.5}').someField }}", "x"),
    ("{{ render(vars.third) }}|{{ render(vars.third, recursive=false) }}", "1|{{ vars.first }}"),
    ("{{ renderOnce(vars.third) }}|{{ vars.third }}", "{{ vars.first }}|{{ vars.second }}"),
    ("{{ render('{{ flow.id }}') }}{{ render({'a': ['{{ flow.id }}', 1]}) }}", 'hello{"a":["hello",1]}'),
    ("{{ render('{% raw %}{{ kept }}{% endraw %}') }}", "{{ kept }}"),
    ("{{ currentEachOutput(outputs.sib).v }}", "N"),
    (
        "{{ tasksWithState('failed') }}",
        '[{"taskId":"a","state":"FAILED"},{"taskId":"c","state":"FAILED","value":"x"}]',
    ),
    ("{{ iterationOutput(outputs.metadata).attr }}", "1"),
    (
        "{{ randomInt(1, 2) }}{{ nanoId(length=10) | length }}{{ uuid() | length }}{{ ksuid() | length }}",
        "1103627",
    ),
    ("{{ decrypt('MDEyMzQ1Njc4OWFiY2RlZg==', encrypt('MDEyMzQ1Njc4OWFiY2RlZg==', 'x')) }}", "x"),
    (
        "{{ isWeekend('2024-05-05') }}{{ dayOfWeek('2024-05-06') }}{{ dayOfMonth('2024-05-06') }}",
        "trueMONDAY6",
    ),
    ("{{ monthOfYear('2024-05-06') }}{{ hourOfDay('2024-05-06T23:00:00+02:00') }}", "523"),
    ("{{ isDayWeekInMonth('2024-05-06', 'MONDAY', 'first') }}", "true"),
    (
        "{{ isPublicHoliday('2025-07-04', 'US') }}{{ isPublicHoliday('2025-01-06', 'DE', 'DE-BY') }}",
        "truetrue",
    ),
]
WORKED = [
    (
        "{{ inputs.payload.score.English + inputs.payload.score.French + inputs.payload.score.Spanish }}",
        "252",
    ),
    ("{{ inputs.payload.score | values | jq('reduce .[] as $num (0; .+$num)') | first }}", "431"),
    (
        "{{ inputs.payload.address.country | upper }}{{ inputs.payload.graduation_years | last }}",
        "FRANCE2023",
    ),
    ("{{ inputs.report | trim | slugify }}", "quarterly-report-q1-2025-final"),
    ("{{ inputs.report | trim | abbreviate(30) }}", "Quarterly Report: Q1 2025 (..."),
    ("{{ inputs.report | substringAfter(':') | trim }}", "Q1 2025 (FINAL)"),
    ('{{ {"title": inputs.empty, "m": {\'a\': 1}} | toJson }}', '{"title":"","m":{"a":1}}'),
    ('date = f"{{ execution.startDate | date("yyyy-MM-dd") }}"', 'date = f"2024-02-03"'),
    ("response = {{ inputs.nothing ?? '' }}", "response = "),
]


@pytest.mark.parametrize(("source", "expected"), LANGUAGE + FILTERS + DATES + FUNCTIONS + WORKED)
def test_template_gives_the_documented_text(source: str, expected: str) -> None:
    """Every worked example renders to exactly the text that its page or row gives."""
    assert render(source) == expected


def test_filters_leave_the_variables_as_they_were() -> None:
    """Upstream sorts in place; variables are shared between renderings here, so nothing may change them."""
    shared = [3, 1, 2]
    compile_template("{{ x | sort }}{{ x | reverse }}{{ x | merge([1]) }}").render(Scope({"x": shared}))
    assert shared == [3, 1, 2]
