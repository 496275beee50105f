"""Flows, commands, events and state: what people write and what travels. No input or output happens here."""
