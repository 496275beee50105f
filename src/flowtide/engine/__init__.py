"""Decides what happens next in an execution, and folds what happened; pure functions.

`decide` takes a command and gives events and what is to be sent; `apply` takes an event and changes the state.  There
is no clock, no input or output and no randomness here: time comes in as an argument, identifiers are derived.
Read `turn.py`, one file each of `apply/` and `decide/constructs/`, and you know the engine.
"""
