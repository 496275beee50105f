"""The built-in task, trigger, condition and runner types."""
