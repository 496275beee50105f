"""The index on Elasticsearch 7.10 and later: bulk writes with external versions, searches through aliases.

The official client carries the connections, credentials and certificates; requests go through its transport with
plain JSON, so that servers of several major versions understand them.  State: the names of indices seen so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from flowtide.errors import IndexFailed, IndexQueryInvalid, IndexUnavailable
from flowtide.index.elasticsearch.compiler import OtherGroup, key_of, order, scoped, source
from flowtide.index.elasticsearch.indices import LABEL_SEPARATOR, OWN, Indices, Rotation
from flowtide.index.kinds import KINDS, FieldType, Kind, kind_of
from flowtide.index.port import Delete, Index, Write
from flowtide.index.queries import (
    MAXIMUM_SIZE,
    Bucket,
    Filter,
    Found,
    Group,
    Measure,
    Page,
    Query,
    checked,
    read_cursor,
    write_cursor,
)

if TYPE_CHECKING:
    from elasticsearch import AsyncElasticsearch

_JSON = {"accept": "application/json", "content-type": "application/json"}
_LINES = {"accept": "application/json", "content-type": "application/x-ndjson"}
_BULK_BYTES = 10_000_000  # per request; Elasticsearch refuses more than 100 MB and works best well below
_LATER = frozenset({401, 403, 408, 429, 500, 502, 503, 504})  # statuses that an operator or time mends
# An index that another process makes at this moment has no shard for some milliseconds; so has one that is moved.
_PAUSES_FOR_SHARDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # seconds
_FUNCTIONS = {"sum": "sum", "average": "avg", "minimum": "min", "maximum": "max", "count": "value_count"}
_ENCODER = msgspec.json.Encoder()
_TENANT_AND_ID = "/"


class ElasticsearchIndex(Index):
    """The index in Elasticsearch at `hosts` (URLs with port), under names that start with `prefix`.

    `rotation` chooses how many indices executions, task runs, events, logs and metrics are spread over (ES-5).
    Raises IndexFailed when the client is not installed or a host is no URL.
    """

    def __init__(
        self,
        hosts: str | Sequence[str],
        *,
        prefix: str = "flowtide_",
        rotation: Rotation = Rotation.NONE,
        username: str | None = None,
        password: str | None = None,
        verify_certificates: bool = True,
        shards: int = 1,
        replicas: int = 1,
        request_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        self._hosts = [hosts] if isinstance(hosts, str) else list(hosts)
        self._indices = Indices(prefix, rotation)
        self._shards = shards
        self._replicas = replicas
        self._known: set[str] = set()
        self._options: dict[str, Any] = {
            "request_timeout": request_timeout.total_seconds(),
        }
        if username is not None:
            self._options["basic_auth"] = (username, password or "")
        if any(host.startswith("https") for host in self._hosts):
            self._options["verify_certs"] = verify_certificates
            self._options["ssl_show_warn"] = False
        self._client: AsyncElasticsearch | None = None

    # --- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, and make sure that templates and indices are there."""
        if self._client is None:
            self._client = self._connect()
        await self.ensure()

    async def close(self) -> None:
        """Close the connections.  A second call does nothing."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connect(self) -> AsyncElasticsearch:
        try:
            from elasticsearch import AsyncElasticsearch
        except ImportError as error:
            raise IndexFailed(
                "the Elasticsearch client is not installed; install flowtide[elasticsearch]"
            ) from error
        try:
            return AsyncElasticsearch(self._hosts, **self._options)
        except ValueError as error:
            raise IndexFailed(f"the hosts of Elasticsearch are not valid: {error}") from error

    async def ensure(self) -> None:
        """Put the templates that indices are made from."""
        for kind in KINDS.values():
            name = self._indices.alias(kind.name)
            template = self._indices.template(kind, shards=self._shards, replicas=self._replicas)
            await self._request("PUT", f"/_index_template/{quote(name)}", template)
            # Templates are for indices to come; those that are there get the fields that are new.
            for index, fields in (await self._missing_fields(kind)).items():
                await self._request("PUT", f"/{quote(index)}/_mapping", {"properties": fields})
        self._known.clear()  # indices are made when the first document of each is written

    async def outdated(self) -> list[str]:
        """Templates and fields that are not there yet."""
        opened = self._client is None
        if self._client is None:
            self._client = self._connect()
        try:
            found: list[str] = []
            for kind in KINDS.values():
                name = self._indices.alias(kind.name)
                status, answer = await self._send("GET", f"/_index_template/{quote(name)}", None)
                if status not in (200, 404):
                    raise _failure(status, answer, "the templates cannot be read")
                wanted = self._indices.template(kind, shards=self._shards, replicas=self._replicas)
                if status == 404:
                    found.append(f"the template {name} is made")
                elif _mappings_of(answer) != wanted["template"]["mappings"]["properties"]:
                    found.append(f"the template {name} is changed")
                for index, fields in (await self._missing_fields(kind)).items():
                    found.append(
                        f"the index {index} gets {', '.join(sorted(fields))}; documents that are there have it when"
                        " they are indexed anew (`flowtide sys reindex`)"
                    )
            return found
        finally:
            if opened:
                await self.close()

    async def _missing_fields(self, kind: Kind) -> dict[str, dict[str, Any]]:
        """The fields that each index of a kind does not have."""
        target = f"/{quote(self._indices.pattern(kind.name), safe='*')}/_mapping"
        status, answer = await self._send("GET", target, None)
        if status == 404:
            return {}
        if status >= 300:
            raise _failure(status, answer, "the fields of the indices cannot be read")
        wanted = self._indices.template(kind, shards=self._shards, replicas=self._replicas)
        properties: dict[str, Any] = wanted["template"]["mappings"]["properties"]
        missing: dict[str, dict[str, Any]] = {}
        for index, described in answer.items():
            there = described.get("mappings", {}).get("properties", {})
            fields = {name: field for name, field in properties.items() if _lacks(there.get(name), field)}
            if fields:
                missing[index] = fields
        return missing

    async def _create(self, name: str) -> None:
        if name in self._known:
            return
        status, answer = await self._send("PUT", f"/{quote(name)}", {})
        if status >= 300 and _error_type(answer) not in (
            "resource_already_exists_exception",
            "index_already_exists_exception",
        ):
            raise _failure(status, answer, f"the index {name} cannot be made")
        self._known.add(name)

    async def _names(self, kind: str) -> list[str]:
        """The indices of a kind, the newest first."""
        if not self._indices.is_rotated(kind):
            return [self._indices.single(kind)]
        status, answer = await self._send(
            "GET", f"/{quote(self._indices.pattern(kind), safe='*')}/_alias", None
        )
        if status == 404:
            return []
        if status >= 300:
            raise _failure(status, answer, "the indices cannot be listed")
        return sorted(answer, reverse=True)

    # --- requests -----------------------------------------------------------------------------------------------

    async def _send(self, method: str, target: str, body: Any, lines: bool = False) -> tuple[int, Any]:
        client = self._client
        if client is None:
            raise IndexUnavailable("the index is not open; start it first")
        from elastic_transport import SerializationError, TransportError

        content = body if body is None or isinstance(body, bytes) else _ENCODER.encode(body)
        headers = {"accept": "application/json"} if content is None else _LINES if lines else _JSON
        try:
            response = await client.transport.perform_request(
                method,
                target,
                body=content,
                headers=headers,
                max_retries=max(
                    len(self._hosts) - 1, 1
                ),  # of connections: another host, or a kept one that was closed
                retry_on_status=(),  # the indexer and the API decide what to do meanwhile
            )
        except SerializationError as error:
            raise IndexUnavailable(f"what answers at {', '.join(self._hosts)} is no Elasticsearch") from error
        except TransportError as error:
            raise IndexUnavailable(
                f"Elasticsearch at {', '.join(self._hosts)} cannot be reached: {error.message}"
            ) from error
        return response.meta.status, response.body

    async def _request(self, method: str, target: str, body: Any, *, lines: bool = False) -> Any:
        status, answer = await self._send(method, target, body, lines)
        if status >= 300:
            raise _failure(status, answer, "Elasticsearch refused the request")
        return answer

    async def _search(self, kind: Kind, body: dict[str, Any]) -> Any:
        target = (
            f"/{quote(self._indices.alias(kind.name))}/_search?ignore_unavailable=true&allow_no_indices=true"
        )
        status, answer = await self._send("POST", target, body)
        for pause in _PAUSES_FOR_SHARDS:
            if status != 503 or "no_shard_available" not in _reason(answer) + _error_type(answer):
                break
            await asyncio.sleep(pause)
            status, answer = await self._send("POST", target, body)
        if status == 400:
            raise IndexQueryInvalid(f"Elasticsearch refused the query: {_reason(answer)}")
        if status >= 300:
            raise _failure(status, answer, "the search failed")
        failures = answer.get("_shards", {}).get("failures")
        if failures:
            raise IndexUnavailable(f"part of the index did not answer: {_reason({'error': failures[0]})}")
        return answer

    # --- writing ------------------------------------------------------------------------------------------------

    async def write(self, batch: Sequence[Write | Delete]) -> Mapping[int, str]:
        """Write a batch in bulk requests of some megabytes."""
        refused: dict[int, str] = {}
        places: list[int] = []
        pieces: list[bytes] = []
        size = 0
        for place, change in enumerate(batch):
            try:
                lines = await self._lines(change)
            except ValueError as error:
                refused[place] = str(error)
                continue
            for line in lines:
                places.append(place)
                pieces.append(line)
                size += len(line)
            if size > _BULK_BYTES:
                await self._bulk(pieces, places, refused)
                places, pieces, size = [], [], 0
        if pieces:
            await self._bulk(pieces, places, refused)
        return refused

    async def _lines(self, change: Write | Delete) -> list[bytes]:
        """The change as pairs of lines of a bulk request.  Raises ValueError when it cannot be written."""
        kind = kind_of(change.kind)
        identifier = f"{change.tenant}{_TENANT_AND_ID}{change.id}"
        if isinstance(change, Delete):
            names = await self._names(kind.name)
            return [
                _ENCODER.encode({"delete": {"_index": name, "_id": identifier, **_external(change)}}) + b"\n"
                for name in names
            ]
        name = self._indices.of(kind.name, change.values)
        await self._create(name)
        action = {"create" if kind.fixed else "index": {"_index": name, "_id": identifier}}
        if not kind.fixed:
            action["index"].update(_external(change))
        own: dict[str, Any] = {"docId": change.id, "docTenant": change.tenant, "docVersion": change.version}
        if change.labels:
            own["docLabels"] = [f"{key}{LABEL_SEPARATOR}{value}" for key, value in change.labels]
        body = change.body
        if b"\n" in body or b"\r" in body:  # in JSON a line break can only be white space
            body = body.replace(b"\n", b" ").replace(b"\r", b" ")
        body = body.strip()
        if not (body.startswith(b"{") and body.endswith(b"}")):
            raise ValueError("its body is no JSON object")
        head = body[:-1].rstrip()
        comma = b"" if head == b"{" else b","
        return [_ENCODER.encode(action) + b"\n" + head + comma + _ENCODER.encode(own)[1:] + b"\n"]

    async def _bulk(self, pieces: Sequence[bytes], places: Sequence[int], refused: dict[int, str]) -> None:
        wanted = "errors,items.*.status,items.*.error.type,items.*.error.reason"
        answer = await self._request("POST", f"/_bulk?filter_path={wanted}", b"".join(pieces), lines=True)
        if not answer["errors"]:
            return
        for place, item in zip(places, answer["items"], strict=True):
            [result] = item.values()
            status = result["status"]
            if status < 300 or status in (404, 409):  # a newer version is there already, or nothing to delete
                continue
            reason = _reason(result)
            if status in _LATER or "index_closed" in reason or "cluster_block" in reason:
                raise IndexUnavailable(f"Elasticsearch cannot write now: {reason}")
            refused[place] = reason

    async def refresh(self) -> None:
        """Make what was written visible to searches."""
        await self._request("POST", f"/{quote(self._indices.everything(), safe='*')}/_refresh", None)

    async def delete(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's word
        """Find what matches and delete it in bulk, by id."""
        table = kind_of(kind)
        body: dict[str, Any] = {
            "query": scoped(table, tenant, filter),
            "sort": order(table, ()),
            "size": 1_000,
            "_source": False,
            "track_total_hits": False,
        }
        total = 0
        while True:
            hits = (await self._search(table, body))["hits"]["hits"]
            if not hits:
                return total
            pieces = [
                _ENCODER.encode({"delete": {"_index": hit["_index"], "_id": hit["_id"]}}) + b"\n"
                for hit in hits
            ]
            refused: dict[int, str] = {}
            await self._bulk(pieces, range(len(pieces)), refused)
            if refused:
                raise IndexFailed(f"Elasticsearch refused to delete: {next(iter(refused.values()))}")
            total += len(hits)
            body["search_after"] = hits[-1]["sort"]

    async def clear(self, kinds: Sequence[str] = tuple(KINDS)) -> None:
        """Delete the indices of these kinds and make them again."""
        for kind in kinds:
            await self._drop(kind_of(kind).name)
        await self.ensure()

    async def remove(self) -> None:
        """Delete all indices and templates under the prefix; the index must be started again before it is used."""
        for kind in KINDS:
            await self._drop(kind)
            status, answer = await self._send(
                "DELETE", f"/_index_template/{quote(self._indices.alias(kind))}", None
            )
            if status >= 300 and status != 404:
                raise _failure(status, answer, f"the template of {kind} cannot be deleted")

    async def _drop(self, kind: str) -> None:
        for name in await self._names(kind):
            self._known.discard(name)
            status, answer = await self._send("DELETE", f"/{quote(name)}", None)
            if status >= 300 and status != 404:
                raise _failure(status, answer, f"the index {name} cannot be deleted")

    # --- reading ------------------------------------------------------------------------------------------------

    async def get_many(self, kind: str, keys: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Found]:
        """Documents by id, at once, also those not yet visible to searches."""
        if not keys:
            return {}
        names = await self._names(kind_of(kind).name)
        wanted = [
            {"_index": name, "_id": f"{tenant}{_TENANT_AND_ID}{identifier}"}
            for name in names
            for tenant, identifier in keys
        ]
        found: dict[tuple[str, str], Found] = {}
        for start in range(0, len(wanted), 5_000):
            answer = await self._request("POST", "/_mget", {"docs": wanted[start : start + 5_000]})
            for document in answer["docs"]:
                if document.get("found"):
                    tenant = document["_source"]["docTenant"]
                    one = _found(document)
                    found[tenant, one.id] = one
        return found

    async def search(self, tenant: str, query: Query) -> Page:
        """Find documents; pages beyond the window of 10,000 are reached by walking there without bodies."""
        kind = kind_of(checked(query).kind)
        sort = order(kind, query.sort)
        body: dict[str, Any] = {
            "query": scoped(kind, tenant, query.filter),
            "sort": sort,
            "size": query.size,
            "track_total_hits": query.count,
        }
        skip = (query.page - 1) * query.size
        if query.after is not None:
            body["search_after"] = read_cursor(query.after, len(sort))
        elif skip + query.size <= MAXIMUM_SIZE:
            body["from"] = skip
        elif not await self._walk(kind, body, skip):
            total = await self.count(tenant, kind.name, query.filter) if query.count else None
            return Page(results=[], total=total, next=None)
        answer = (await self._search(kind, body))["hits"]
        hits = answer["hits"]
        total = answer["total"]["value"] if query.count else None
        full = len(hits) == query.size and query.size > 0
        return Page(
            results=[_found(hit) for hit in hits],
            total=total,
            next=write_cursor(hits[-1]["sort"]) if full and await self._more(kind, body, hits) else None,
        )

    async def _walk(self, kind: Kind, body: dict[str, Any], skip: int) -> bool:
        """Set `search_after` in `body` to what stands at place `skip`; False when there is not so much."""
        while skip:
            step = min(skip, MAXIMUM_SIZE)
            bare = {**body, "size": step, "_source": False, "track_total_hits": False}
            hits = (await self._search(kind, bare))["hits"]["hits"]
            if len(hits) < step:
                return False
            body["search_after"] = hits[-1]["sort"]
            skip -= step
        return True

    async def _more(self, kind: Kind, body: dict[str, Any], hits: Sequence[Any]) -> bool:
        bare = {
            **body,
            "size": 1,
            "_source": False,
            "track_total_hits": False,
            "search_after": hits[-1]["sort"],
        }
        bare.pop("from", None)
        return bool((await self._search(kind, bare))["hits"]["hits"])

    async def count(self, tenant: str, kind: str, filter: Filter | None = None) -> int:  # noqa: A002 - the port's word
        """How many documents match."""
        table = kind_of(kind)
        body = {"query": scoped(table, tenant, filter), "size": 0, "track_total_hits": True}
        return int((await self._search(table, body))["hits"]["total"]["value"])

    async def aggregate(
        self,
        tenant: str,
        kind: str,
        *,
        filter: Filter | None = None,  # noqa: A002 - the port's word
        groups: Sequence[Group] = (),
        measures: Sequence[Measure] = (),
        limit: int | None = None,
    ) -> list[Bucket]:
        """Count and measure by a composite aggregation, read to its end.  Dates are measured to the millisecond."""
        table = kind_of(kind)
        fields = [table.field(measure.field) for measure in measures]
        numbers = {
            f"m{at}": {_FUNCTIONS[measure.function]: {"field": field.path}}
            for at, (measure, field) in enumerate(zip(measures, fields, strict=True))
        }
        factors = [
            1_000 if field.type is FieldType.DATE and measure.function != "count" else 1
            for measure, field in zip(measures, fields, strict=True)
        ]
        body: dict[str, Any] = {"query": scoped(table, tenant, filter), "size": 0}

        def values(found: Mapping[str, Any]) -> tuple[float | None, ...]:
            measured = [found.get(f"m{at}", {}).get("value") for at in range(len(measures))]
            return tuple(
                None if value is None else value * factor
                for value, factor in zip(measured, factors, strict=True)
            )

        if not groups:
            answer = await self._search(table, {**body, "track_total_hits": True, "aggs": numbers})
            return [
                Bucket(
                    keys=(),
                    count=answer["hits"]["total"]["value"],
                    values=values(answer.get("aggregations", {})),
                )
            ]
        composite: dict[str, Any] = {
            "size": 1_000,
            "sources": [{f"g{at}": source(table, group)} for at, group in enumerate(groups)],
        }
        buckets: list[Bucket] = []
        while True:
            aggregation = {"groups": {"composite": composite, "aggs": numbers}}
            answer = await self._search(table, {**body, "track_total_hits": False, "aggs": aggregation})
            result = answer.get("aggregations", {}).get("groups", {"buckets": []})
            for bucket in result["buckets"]:
                with suppress(OtherGroup):
                    keys = tuple(key_of(group, bucket["key"][f"g{at}"]) for at, group in enumerate(groups))
                    buckets.append(Bucket(keys=keys, count=bucket["doc_count"], values=values(bucket)))
            if limit is not None and len(buckets) >= limit:
                return buckets[:limit]
            if "after_key" not in result or not result["buckets"]:
                return buckets
            composite["after"] = result["after_key"]


def _lacks(there: Any, wanted: Mapping[str, Any]) -> bool:
    """Whether a field, or one within it, is not there."""
    if there is None:
        return True
    inner: Mapping[str, Any] = wanted.get("properties", {})
    known = there.get("properties", {})
    return any(_lacks(known.get(name), field) for name, field in inner.items())


def _mappings_of(answer: Any) -> Any:
    found = answer["index_templates"][0]["index_template"]["template"]
    return found.get("mappings", {}).get("properties", {})


def _external(change: Write | Delete) -> dict[str, Any]:
    return {"version": change.version, "version_type": "external_gte"}


def _found(hit: Mapping[str, Any]) -> Found:
    document = hit["_source"]
    identifier, version = document["docId"], document["docVersion"]
    for name in (*OWN, "docVersion"):
        document.pop(name, None)
    return Found(id=identifier, version=version, body=_ENCODER.encode(document))


def _error_type(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return str(error.get("type", "")) if isinstance(error, dict) else ""


def _reason(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    if not isinstance(error, dict):
        return str(error)
    causes = error.get("root_cause") or [error.get("reason", error)]
    cause = causes[0] if isinstance(causes[0], dict) else {"reason": causes[0]}
    return f"{cause.get('type', error.get('type', 'error'))}: {cause.get('reason', '')}"


def _failure(status: int, answer: Any, what: str) -> IndexFailed:
    text = f"{what}: {_reason(answer)} (status {status})"
    if status in (401, 403):
        return IndexUnavailable(f"{text}; check the user, the password and what the user may do")
    return IndexUnavailable(text) if status in _LATER else IndexFailed(text)
