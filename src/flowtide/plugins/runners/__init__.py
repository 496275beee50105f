"""The built-in task runners: where the processes of script tasks run."""
