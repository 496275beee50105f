"""Passwords as bcrypt hashes: text in, a hash or whether it fits out.

State: two threads of its own, so that neither the event loop nor the storage's threads wait for a hash.
"""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import bcrypt

LONGEST_BYTES = 72  # bcrypt ignores what is beyond
DEFAULT_RULE = r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9]).{8,}"
_DEFAULT_MEANING = (
    "the password needs 8 characters or more, with a capital letter, a small letter and a digit"
)
_THREADS = 2


class Passwords:
    """Computes and compares.  `rule` is a regular expression that the whole of a new password must match (AUTH-11)."""

    def __init__(self, *, rounds: int = 10, rule: str | None = None) -> None:
        self._rounds = rounds
        self._rule = re.compile(rule or DEFAULT_RULE, re.DOTALL)
        self._meaning = _DEFAULT_MEANING if rule is None else f"the password must match {rule}"
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="passwords")
        # What an unknown user's password is compared with, so that the answer takes as long (timing).
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(rounds))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def errors(self, password: str) -> list[str]:
        """What is wrong with a new password, as sentences."""
        if len(password) > 1_000 or self._rule.fullmatch(password) is None:
            return [self._meaning]
        if len(password.encode()) > LONGEST_BYTES or "\0" in password:
            return [f"the password must have at most {LONGEST_BYTES} bytes, without NUL"]
        return []

    async def hash(self, password: str) -> str:
        """The hash to be saved."""
        loop = asyncio.get_running_loop()
        salt = bcrypt.gensalt(self._rounds)
        return (await loop.run_in_executor(self._threads, bcrypt.hashpw, password.encode(), salt)).decode()

    async def fits(self, password: str, hashed: str | None) -> bool:
        """Whether the hash is of this password.  Without a hash the answer is no, after the same time."""
        known = self._nobody if hashed is None else hashed.encode()
        given = password.encode()
        usable = len(given) <= LONGEST_BYTES and b"\0" not in given
        loop = asyncio.get_running_loop()
        same = await loop.run_in_executor(self._threads, bcrypt.checkpw, given if usable else b"", known)
        return same and usable and hashed is not None
