"""Keyed stateful stream processors on one small runtime."""
