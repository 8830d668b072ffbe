"""Implement the published methods and controls that the benchmark compares."""
