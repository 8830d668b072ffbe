"""Read method files, decide what may be built, and build or load methods."""
