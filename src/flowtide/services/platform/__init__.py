"""What stands around flows: namespaces, key-value pairs, namespace files; each saved as resources, contents in files.

`Platforms` is built once in a process and hands out what one tenant, and one namespace of it, may reach.
"""

from flowtide.services.platform.platforms import Platforms, TenantPlatform

__all__ = ["Platforms", "TenantPlatform"]
