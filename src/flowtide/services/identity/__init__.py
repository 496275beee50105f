"""Who there is and what they may do, in memory, and how that is changed.

Identities   the tables, kept up to date from what is saved; what somebody may do costs a look into a dictionary
Directory    changes: users, tokens, sessions, tenants, access, roles and bindings
Passwords    hashes, computed beside the event loop
Attempts     failed logins: lock-out of names, and limits of addresses
"""

from flowtide.services.identity.attempts import Attempts, Limits
from flowtide.services.identity.directory import DefaultRole, Directory
from flowtide.services.identity.passwords import Passwords
from flowtide.services.identity.roles import MANAGED_ROLES
from flowtide.services.identity.tables import ConfiguredLogin, Identities, Subject

__all__ = [
    "MANAGED_ROLES",
    "Attempts",
    "ConfiguredLogin",
    "DefaultRole",
    "Directory",
    "Identities",
    "Limits",
    "Passwords",
    "Subject",
]
