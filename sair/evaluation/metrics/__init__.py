"""Define the metrics: one file for each, and ``registry``, which lists them (docs/add-a-metric.md)."""
