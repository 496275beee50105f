"""Requests with an idempotency key: a key and a fingerprint in, and out goes whether it was answered, and what.

A request is noted before it is carried out and its answer after that, both as saved things, so that every webserver
knows them and the death of one loses neither (decision 0056).  State: the requests that this server is carrying out.
"""

from __future__ import annotations

import asyncio
import secrets as system_secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from flowtide.errors import FlowtideError, ResourceConflict
from flowtide.model.idempotency import (
    IDEMPOTENT_REQUEST_DECODER,
    SEALED_REQUEST_DECODER,
    IdempotentRequest,
    KeptAnswer,
    SealedRequest,
)
from flowtide.model.identifiers import derived_identifier
from flowtide.model.records import encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.repeats import Repeat
from flowtide.services.saving import ResourceClient

DEFAULT_KEPT = timedelta(hours=24)
LARGEST_BYTES = 256_000  # of an answer that is kept

_KIND = ResourceKind.IDEMPOTENCY
_ELSEWHERE = timedelta(seconds=2)  # how long another webserver may take before its request is taken over
_LOOK_SECONDS = 0.05
_SWEEP_SECONDS = 600.0
_SWEPT_AT_ONCE = 1_000

Seal = Callable[[str, str, str], Awaitable[str]]
"""(tenant, place, text) -> the text encrypted, for that place only."""
Open = Callable[[str, str, str], str]
"""(tenant, place, encrypted) -> the text."""

logger = structlog.get_logger(__name__)


class OtherRequest(FlowtideError):
    """The key was used for another request."""

    code = "idempotency-key"


class StillRunning(FlowtideError):
    """The same request is being carried out just now."""

    code = "idempotency-running"


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A request that is to be carried out now."""

    tenant: str
    identifier: str
    revision: int
    record: IdempotentRequest
    repeat: Repeat


class Idempotency:
    """The requests with a key.  `kept` is how long an answer may be asked for again."""

    def __init__(
        self,
        catalog: Catalog,
        client: ResourceClient,
        *,
        seal: Seal,
        unseal: Open,
        clock: Callable[[], datetime],
        kept: timedelta = DEFAULT_KEPT,
    ) -> None:
        self._catalog = catalog
        self._client = client
        self._seal = seal
        self._unseal = unseal
        self._clock = clock
        self._kept = kept
        self._running: dict[tuple[str, str], asyncio.Event] = {}
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to forget what is expired, now and then."""
        self._sweeping = asyncio.create_task(self._sweep_on(), name="idempotency")

    async def close(self) -> None:
        """Forget nothing more."""
        task, self._sweeping = self._sweeping, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def begin(
        self, tenant: str, caller: str, key: str, fingerprint: str, patience: timedelta
    ) -> Begun | KeptAnswer:
        """Note a request that is carried out now, or give what the same one was answered before.

        To be followed by `done` or `failed`.  Raises OtherRequest when the key was used for another one, StillRunning
        when the same one is not answered within `patience`, and as `ResourceClient.save`.
        """
        identifier = derived_identifier(caller, key)
        place = (tenant, identifier)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience.total_seconds()
        while (running := self._running.get(place)) is not None:
            try:
                async with asyncio.timeout_at(deadline):
                    await running.wait()
            except TimeoutError:
                raise StillRunning("the same request is being carried out; ask again") from None
        self._running[place] = asyncio.Event()
        try:
            return await self._begin(tenant, identifier, fingerprint)
        except BaseException:
            self._end(place)
            raise

    async def done(self, begun: Begun, answer: KeptAnswer) -> None:
        """Keep the answer, before it is given."""
        try:
            kept = answer if len(answer.body) <= LARGEST_BYTES else None
            await self._save(begun, SealedRequest(seed=begun.repeat.seed, answer=kept), done=True)
        finally:
            self._end((begun.tenant, begun.identifier))

    async def failed(self, begun: Begun) -> None:
        """Forget a request that was refused, so that it can be mended and sent with the same key."""
        try:
            with suppress(FlowtideError):
                await self._client.delete(_KIND, begun.tenant, begun.identifier)
        finally:
            self._end((begun.tenant, begun.identifier))

    def leave(self, begun: Begun) -> None:
        """Know nothing of how a request ended: who sends it again finds it begun."""
        self._end((begun.tenant, begun.identifier))

    async def sweep(self) -> int:
        """Forget what is expired; gives how many requests that were."""
        now = self._clock()
        found = [
            (tenant, identifier, saved.revision)
            for tenant in sorted(self._catalog.tenants())
            for identifier, saved in self._catalog.list(_KIND, tenant)
            if IDEMPOTENT_REQUEST_DECODER.decode(saved.body).expires <= now
        ][:_SWEPT_AT_ONCE]
        for tenant, identifier, revision in found:
            with suppress(ResourceConflict):  # another webserver was faster, or the key is used anew
                await self._client.delete(_KIND, tenant, identifier, revision)
        return len(found)

    async def _begin(self, tenant: str, identifier: str, fingerprint: str) -> Begun | KeptAnswer:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ELSEWHERE.total_seconds()
        while True:
            saved = self._catalog.get(_KIND, tenant, identifier)
            known = None if saved is None else IDEMPOTENT_REQUEST_DECODER.decode(saved.body)
            if saved is None or known is None or known.expires <= self._clock():
                try:
                    return await self._note(tenant, identifier, fingerprint, saved)
                except ResourceConflict:
                    await self._catalog.catch_up()  # another webserver was faster
                    continue
            if known.fingerprint != fingerprint:
                raise OtherRequest(
                    "this idempotency key was used for another request; use a new one for each"
                )
            kept = self._opened(tenant, identifier, known)
            if kept.answer is not None:
                self._end((tenant, identifier))
                return kept.answer
            if known.done or loop.time() >= deadline:
                # Whoever began it died, or takes long; made once more, it names the same things again.
                return Begun(
                    tenant=tenant,
                    identifier=identifier,
                    revision=saved.revision,
                    record=known,
                    repeat=Repeat(seed=kept.seed, is_taken_over=True),
                )
            await asyncio.sleep(_LOOK_SECONDS)

    async def _note(self, tenant: str, identifier: str, fingerprint: str, before: Resource | None) -> Begun:
        seed = system_secrets.token_bytes(32)
        record = IdempotentRequest(
            fingerprint=fingerprint,
            expires=self._clock() + self._kept,
            sealed=await self._sealed(tenant, identifier, SealedRequest(seed=seed)),
        )
        revision = 0 if before is None else before.revision
        saved = await self._client.save(_KIND, tenant, identifier, encode(record), revision)
        return Begun(
            tenant=tenant,
            identifier=identifier,
            revision=saved.revision,
            record=record,
            repeat=Repeat(seed=seed),
        )

    async def _save(self, begun: Begun, sealed: SealedRequest, *, done: bool) -> None:
        record = IdempotentRequest(
            fingerprint=begun.record.fingerprint,
            expires=begun.record.expires,
            sealed=await self._sealed(begun.tenant, begun.identifier, sealed),
            done=done,
        )
        await self._client.save(_KIND, begun.tenant, begun.identifier, encode(record))

    async def _sealed(self, tenant: str, identifier: str, value: SealedRequest) -> str:
        return await self._seal(tenant, f"{_KIND}/{identifier}", encode(value).decode())

    def _opened(self, tenant: str, identifier: str, known: IdempotentRequest) -> SealedRequest:
        return SEALED_REQUEST_DECODER.decode(self._unseal(tenant, f"{_KIND}/{identifier}", known.sealed))

    def _end(self, place: tuple[str, str]) -> None:
        running = self._running.pop(place, None)
        if running is not None:
            running.set()

    async def _sweep_on(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                while await self.sweep() == _SWEPT_AT_ONCE:
                    pass
            except FlowtideError as error:
                logger.warning("expired idempotency keys could not be forgotten", reason=error.message)
