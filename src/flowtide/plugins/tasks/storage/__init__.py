"""Tasks on stored files: a module per group."""
