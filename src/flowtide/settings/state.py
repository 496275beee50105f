"""Groups of the table of settings about what stands around flows: the key-value store, and files of the host."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from flowtide.settings.fields import setting


@dataclass(frozen=True, kw_only=True)
class LocalFiles:
    """Files of the host that flows may name (KEY-21)."""

    allowed_paths: tuple[Path, ...] = setting(
        "local-files.allowed-paths", (), "Folders that `file://` URIs may point into; none by default."
    )
    enable_preview: bool = setting(
        "local-files.enable-preview", True, "Whether the interface previews such files."
    )


@dataclass(frozen=True, kw_only=True)
class PurgeExpired:
    """Removing expired pairs of the key-value store (KEY-47)."""

    enabled: bool = setting(
        "kv.purge-expired.enabled",
        True,
        "Whether expired pairs are removed; nobody can read them in any case.",
    )
    initial_delay: timedelta = setting(
        "kv.purge-expired.initial-delay",
        timedelta(hours=6),
        "Time after the start before the first removal.",
        unit="duration",
    )
    fixed_delay: timedelta = setting(
        "kv.purge-expired.fixed-delay", timedelta(hours=6), "Time between two removals.", unit="duration"
    )
    batch_size: int = setting("kv.purge-expired.batch-size", 1000, "Pairs that are removed at a time.")


@dataclass(frozen=True, kw_only=True)
class KeyValueStore:
    """The key-value store."""

    purge_expired: PurgeExpired = field(default_factory=PurgeExpired)
