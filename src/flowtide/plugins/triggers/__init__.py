"""The built-in triggers that workers evaluate, a module each."""
