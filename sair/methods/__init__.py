"""Method files: read a specification, decide what may be built, and build or load the method."""
