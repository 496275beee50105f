"""Dashboards as people write them: YAML in, charts with their data sources out (pages 335, 429); no I/O."""
