"""The Docker runner: a container per attempt of a script task (C §20)."""
