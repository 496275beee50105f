"""The search index: documents, queries and aggregations; the port and its adapters."""
