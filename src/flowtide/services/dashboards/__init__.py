"""Dashboards at work: from a chart and what its reader chose to queries of the index, and from those to rows."""
