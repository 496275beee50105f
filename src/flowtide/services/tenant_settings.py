"""The names of settings of the instance that are about one tenant."""

from __future__ import annotations


def kept_setting(tenant: str) -> str:
    """The setting that says that the history of a deleted tenant is still there, so that its id is not free."""
    return f"flowtide.tenants.kept.{tenant}"
