"""Where requests of flows may go: the settings in, the rules out.  No state."""

from __future__ import annotations

from flowtide.model.outbound import OutboundRules
from flowtide.settings import Settings, SettingsError


def outbound_rules(settings: Settings) -> OutboundRules:
    """What the settings say.  Raises SettingsError for an entry that is no host."""
    outbound = settings.outbound
    try:
        return OutboundRules.of(outbound.allowed, outbound.denied, deny_private=outbound.deny_private)
    except ValueError as error:
        raise SettingsError([f"`http.outbound`: {error}"]) from None
