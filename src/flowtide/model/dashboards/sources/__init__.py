"""The data sources of charts, a module for each kind of document."""
