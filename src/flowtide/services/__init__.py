"""The servers: processors and consumers wired to a process."""
