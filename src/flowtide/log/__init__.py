"""The log: topics with keyed partitions; the port, its adapters, and the keys of records."""
