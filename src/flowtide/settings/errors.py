"""The error that wrong settings end in."""

from __future__ import annotations

from collections.abc import Sequence

from flowtide.errors import FlowtideError


class SettingsError(FlowtideError):
    """Settings are wrong; each of `problems` says what, where it stands and what is expected."""

    code = "settings"

    def __init__(self, problems: Sequence[str]) -> None:
        many = f"{len(problems)} settings are wrong:\n" if len(problems) > 1 else ""
        super().__init__(many + "\n".join(f"- {line}" if many else line for line in problems))
        self.problems = tuple(problems)
