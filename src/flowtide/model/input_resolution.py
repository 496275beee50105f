"""How given values become the typed values of an execution's inputs (page 465, INP-16 to INP-23).

In come the declarations, the values that somebody gave, and the means; out go values that JSON can carry, or all that
is wrong.  Nothing here does input or output: files are URIs already, secrets are encrypted by a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flowtide.errors import FlowtideError, InputError, InputProblem
from flowtide.model.encrypted import Cipher, has_encrypted, is_encrypted
from flowtide.model.input_values import as_text
from flowtide.model.inputs import (
    ChoiceInput,
    Encrypt,
    Input,
    InputMeans,
    MatchedInput,
    MultiselectInput,
    Render,
    SecretInput,
    is_true,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputValue:
    """One input after resolving."""

    input: Input
    value: Any = None
    enabled: bool = True  # False: hidden by its `dependsOn`
    is_default: bool = False
    options: tuple[str, ...] | None = None  # what SELECT and MULTISELECT offer
    error: str | None = None  # the whole sentence


def resolve_inputs(
    inputs: Sequence[Input],
    given: Mapping[str, Any],
    render: Render,
    *,
    encrypt: Encrypt | None = None,
    decrypt: Callable[[Any], str] | None = None,
    regex_timeout: timedelta = timedelta(seconds=10),
    variables: Mapping[str, Any] | None = None,
    warn: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The values of an execution's inputs, nested where ids have dots; None for what is not given.

    `render` gets a template (or a structure of them) and the variables: `variables` with `inputs` added, which
    holds what is resolved so far.  `encrypt` and `decrypt` are those of `InputMeans`.  `warn` is told of values
    that no input asks for.  Raises InputError with every problem.
    """
    means = InputMeans(render=render, encrypt=encrypt, decrypt=decrypt, regex_timeout=regex_timeout)
    if warn is not None:
        for name in undeclared(inputs, given):
            warn(f"there is no input `{name}`; its value is ignored")
    resolved = evaluate_inputs(inputs, given, means, variables)
    problems = [
        InputProblem(input_id=each.input.id, message=each.error)
        for each in resolved
        if each.error is not None
    ]
    if problems:
        raise InputError(problems)
    values: dict[str, Any] = {}
    for each in resolved:
        _put(values, each.input.path, each.value)
    return values


def input_encryption(cipher: Cipher | None, *, tenant_id: str, execution_id: str) -> Encrypt | None:
    """How the SECRET inputs of an execution are encrypted; None without a key."""
    if cipher is None:
        return None

    def encrypt(text: str, input_id: str) -> Any:
        return cipher.encrypt(text, tenant_id=tenant_id, place=f"{execution_id}/inputs/{input_id}")

    return encrypt


def evaluate_inputs(
    inputs: Sequence[Input],
    given: Mapping[str, Any],
    means: InputMeans,
    variables: Mapping[str, Any] | None = None,
) -> list[InputValue]:
    """Every input with its value, its options and what is wrong with it, in the order of `inputs`.

    This is what a form shows while somebody fills it in; `resolve_inputs` is the strict form of it.
    """
    evaluation = _Evaluation(inputs, given, means, variables or {})
    return [evaluation.value(each) for each in inputs]


def undeclared(inputs: Sequence[Input], given: Mapping[str, Any]) -> list[str]:
    """The names of given values that no input asks for."""
    known = {each.id for each in inputs} | {each.path[0] for each in inputs}
    return [name for name in given if name not in known]


class _Evaluation:
    """Resolves inputs once each, those that others depend on first."""

    def __init__(
        self,
        inputs: Sequence[Input],
        given: Mapping[str, Any],
        means: InputMeans,
        variables: Mapping[str, Any],
    ) -> None:
        self._by_id = {each.id: each for each in inputs}
        self._given = given
        self._means = means
        self._values: dict[str, Any] = {}  # what expressions see as `inputs`
        self._variables = {**variables, "inputs": self._values}
        # Conditions and the defaults of other SECRETs see texts (V22): what they give is neither shown nor recorded.
        self._opened: dict[str, Any] = {}
        self._opened_variables = {**variables, "inputs": self._opened}
        self._texts: dict[str, str] = {}  # of SECRET inputs, by the id
        self._resolved: dict[str, InputValue] = {}
        self._active: set[str] = set()

    def value(self, declared: Input) -> InputValue:
        """The resolved form of an input."""
        known = self._resolved.get(declared.id)
        if known is not None:
            return known
        if declared.id in self._active:
            return InputValue(
                input=declared, error=_invalid(declared, "its `dependsOn` leads back to itself")
            )
        self._active.add(declared.id)
        resolved = self._resolve(declared)
        self._active.discard(declared.id)
        self._resolved[declared.id] = resolved
        if resolved.error is None:
            _put(self._values, declared.path, resolved.value)
            _put(self._opened, declared.path, self._texts.get(declared.id, resolved.value))
        return resolved

    def _resolve(self, declared: Input) -> InputValue:
        options: tuple[str, ...] | None = None
        try:
            if not self._is_enabled(declared):
                return InputValue(input=declared, enabled=False)
            if isinstance(declared, ChoiceInput):
                options = declared.offered(self._means, self._variables)
            given = self._look_up(declared)
            is_default = False
            if given is None or (given == "" and not isinstance(declared, MatchedInput)):
                given = self._default(declared, options)
                is_default = given is not None
            if given is None:
                error = f"Missing required input:{declared.id}" if declared.required else None
                return InputValue(input=declared, options=options, error=error)
            value = self._read(declared, given, options, is_default)
        except (ValueError, FlowtideError) as problem:
            return InputValue(input=declared, options=options, error=_invalid(declared, str(problem)))
        return InputValue(input=declared, value=value, options=options, is_default=is_default)

    def _read(self, declared: Input, given: Any, options: tuple[str, ...] | None, is_default: bool) -> Any:
        if is_encrypted(given):
            return self._read_encrypted(declared, given, options, is_default)
        value = declared.read(given, self._means, options)
        if isinstance(declared, SecretInput):
            self._texts[declared.id] = as_text(given)
        elif self._means.decrypt is None and has_encrypted(value):
            raise ValueError("an encrypted value cannot be given; give the text itself")
        return value

    def _read_encrypted(
        self, declared: Input, given: Any, options: tuple[str, ...] | None, is_default: bool
    ) -> Any:
        """What comes from a secret stays one where the input is a text; numbers and structures cannot."""
        text = self._text_of(given, is_default)
        if isinstance(declared, SecretInput):
            declared.check(text, self._means)
            self._texts[declared.id] = text
            return given
        value = declared.read(text, self._means, options)
        if not isinstance(value, str) or self._means.encrypt is None:
            return value
        self._texts[declared.id] = value
        return given if value == text else self._means.encrypt(value, declared.id)

    def _text_of(self, encrypted: Any, is_default: bool) -> str:
        if self._means.decrypt is not None:
            return self._means.decrypt(encrypted)
        for identifier, text in self._texts.items() if is_default else ():
            resolved = self._resolved.get(identifier)
            if resolved is not None and resolved.value == encrypted:
                return text
        raise ValueError("an encrypted value cannot be given; give the text itself")

    def _is_enabled(self, declared: Input) -> bool:
        depends_on = declared.depends_on
        if depends_on is None:
            return True
        for identifier in depends_on.inputs:
            dependency = self._by_id.get(identifier)
            if dependency is None:
                raise ValueError(f"its `dependsOn` names the input `{identifier}`, which does not exist")
            resolved = self.value(dependency)
            # A wrong dependency is reported itself; what depends on it is not asked for meanwhile.
            if resolved.error is not None or not resolved.enabled or resolved.value is None:
                return False
        condition = depends_on.condition
        if condition is None:
            return True
        if isinstance(condition, str) and _is_template(condition):
            return is_true(self._means.render(condition, self._opened_variables))
        return is_true(condition)

    def _default(self, declared: Input, options: tuple[str, ...] | None) -> Any:
        default = declared.defaults
        if default is None:
            if isinstance(declared, ChoiceInput) and declared.auto_select_first and options:
                return [options[0]] if isinstance(declared, MultiselectInput) else options[0]
            return None
        if not _is_template(default):
            return default
        opened = isinstance(declared, SecretInput)
        return self._means.render(default, self._opened_variables if opened else self._variables)

    def _look_up(self, declared: Input) -> Any:
        if declared.id in self._given:
            return self._given[declared.id]
        value: Any = self._given
        for part in declared.path:
            if not isinstance(value, Mapping):
                return None
            value = value.get(part)
        return value


def _invalid(declared: Input, cause: str) -> str:
    return f"Invalid value for input `{declared.id}`. Cause: {cause}"


def _put(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        inner = values.get(part)
        if not isinstance(inner, dict):
            inner = values[part] = {}
        values = inner
    values[path[-1]] = value


def _is_template(value: Any) -> bool:
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return any(_is_template(each) for pair in value.items() for each in pair)
    return isinstance(value, list | tuple) and any(_is_template(each) for each in value)
