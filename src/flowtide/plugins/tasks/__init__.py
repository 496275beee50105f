"""The built-in task types that workers run, a module a subject."""
