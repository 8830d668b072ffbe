"""Published methods and controls that the benchmark compares."""
