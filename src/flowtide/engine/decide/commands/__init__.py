"""Deciders of commands, grouped by who sends them."""
