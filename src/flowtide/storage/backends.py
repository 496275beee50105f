"""The kinds of storage: turns `storage.type` and its options (STOR-1..6) into a filesystem and a base on it.

Only `local` is there without an extra; each other kind names the extra that brings its fsspec package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fsspec.implementations.local import LocalFileSystem

from flowtide.errors import StorageMisconfigured
from flowtide.storage.blocking import BlockingStorage
from flowtide.storage.facade import Storage


def open_storage(kind: str, options: Mapping[str, Any], *, threads: int = 8) -> Storage:
    """Build the storage of a kind: `local`, `s3`, `minio`, `gcs` or `azure`.

    `options` are those of the kind (`base-path`, `bucket`, ...), in kebab-case or camelCase.  Raises
    StorageMisconfigured for an unknown kind or option, a missing one, or a package that is not installed.
    """
    return Storage(open_blocking(kind, options), threads=threads)


def open_blocking(kind: str, options: Mapping[str, Any]) -> BlockingStorage:
    """The same for callers in threads.  Raises as `open_storage`."""
    builder = _BUILDERS.get(kind)
    if builder is None:
        raise StorageMisconfigured(
            f"storage.type is `{kind}`, which is not there; choose one of {', '.join(sorted(_BUILDERS))}"
        )
    filesystem, base = builder(_Options(kind, options))
    return BlockingStorage(filesystem, base)


def storage_kinds() -> list[str]:
    """The kinds whose packages are installed here."""
    packages = {"s3": "s3fs", "minio": "s3fs", "gcs": "gcsfs", "azure": "adlfs"}
    return [kind for kind in _BUILDERS if kind not in packages or find_spec(packages[kind]) is not None]


class _Options:
    """The options of one kind; each is taken once, and what is left over was misspelt."""

    def __init__(self, kind: str, options: Mapping[str, Any]) -> None:
        self.kind = kind
        self._options = {_plain(name): (name, value) for name, value in options.items() if value is not None}

    def take(self, name: str, default: Any = None) -> Any:
        return self._options.pop(_plain(name), (name, default))[1]

    def need(self, name: str) -> Any:
        value = self.take(name)
        if value in (None, ""):
            raise StorageMisconfigured(f"storage.{self.kind}.{name} must be set")
        return value

    def finish(self) -> None:
        if self._options:
            unknown = ", ".join(sorted(f"storage.{self.kind}.{name}" for name, _ in self._options.values()))
            raise StorageMisconfigured(f"unknown or unsupported: {unknown}")


def _plain(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def _local(options: _Options) -> tuple[Any, str]:
    base = str(Path(str(options.need("base-path"))).absolute())
    options.finish()
    return LocalFileSystem(auto_mkdir=True, skip_instance_cache=True), base


def _s3(options: _Options) -> tuple[Any, str]:
    bucket = options.need("bucket")
    client: dict[str, Any] = {}
    if region := options.take("region"):
        client["region_name"] = region
    endpoint = options.take("endpoint")
    arguments: dict[str, Any] = {"key": options.take("access-key"), "secret": options.take("secret-key")}
    if _truthy(options.take("force-path-style", False)):
        arguments["config_kwargs"] = {"s3": {"addressing_style": "path"}}
    options.finish()
    module = _package("s3fs", options.kind, "s3")
    return module.S3FileSystem(endpoint_url=endpoint, client_kwargs=client, **arguments), str(bucket)


def _minio(options: _Options) -> tuple[Any, str]:
    bucket = options.need("bucket")
    endpoint = str(options.need("endpoint"))
    secure = _truthy(options.take("secure", False))
    port = options.take("port", 9000)
    if "://" not in endpoint:
        endpoint = f"{'https' if secure else 'http'}://{endpoint}"
    if endpoint.rsplit("/", 1)[-1].count(":") == 0:
        endpoint = f"{endpoint}:{port}"
    style = "virtual" if _truthy(options.take("vhost", False)) else "path"
    arguments = {
        "key": options.take("access-key"),
        "secret": options.take("secret-key"),
        "client_kwargs": {"region_name": options.take("region", "default")},
        "config_kwargs": {"s3": {"addressing_style": style}},
    }
    part_size = options.take("part-size")
    if part_size is not None:
        arguments["default_block_size"] = _bytes(str(part_size))
    options.finish()
    module = _package("s3fs", options.kind, "s3")
    return module.S3FileSystem(endpoint_url=endpoint, **arguments), str(bucket)


def _gcs(options: _Options) -> tuple[Any, str]:
    bucket = options.need("bucket")
    arguments = {"project": options.take("project-id"), "token": options.take("service-account")}
    options.finish()
    module = _package("gcsfs", options.kind, "gcs")
    return module.GCSFileSystem(**{name: value for name, value in arguments.items() if value}), str(bucket)


def _azure(options: _Options) -> tuple[Any, str]:
    container = options.need("container")
    endpoint = options.take("endpoint")
    arguments: dict[str, Any] = {
        "connection_string": options.take("connection-string"),
        "account_name": options.take("shared-key-account-name"),
        "account_key": options.take("shared-key-account-access-key"),
        "sas_token": options.take("sas-token"),
    }
    options.finish()
    ways = [arguments["connection_string"], arguments["account_key"], arguments["sas_token"]]
    if sum(1 for way in ways if way) != 1:
        raise StorageMisconfigured(
            "storage.azure needs exactly one of connection-string, shared-key-account-name with its access key, "
            "and sas-token"
        )
    if endpoint and not arguments["account_name"] and not arguments["connection_string"]:
        arguments["account_name"] = str(endpoint).split("://")[-1].split(".")[0]
    module = _package("adlfs", options.kind, "azure")
    return module.AzureBlobFileSystem(**{name: value for name, value in arguments.items() if value}), str(
        container
    )


def _package(name: str, kind: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise StorageMisconfigured(
            f"storage.type `{kind}` needs the package {name}; install it with: pip install 'flowtide[{extra}]'"
        ) from error


def _truthy(value: object) -> bool:
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _bytes(text: str) -> int:
    units = {"kb": 1024, "mb": 1024**2, "gb": 1024**3, "b": 1}
    lowered = text.strip().lower()
    for unit, factor in units.items():
        if lowered.endswith(unit):
            return int(float(lowered[: -len(unit)]) * factor)
    return int(lowered)


_BUILDERS: Final[Mapping[str, Callable[[_Options], tuple[Any, str]]]] = {
    "local": _local,
    "s3": _s3,
    "minio": _minio,
    "gcs": _gcs,
    "azure": _azure,
}
